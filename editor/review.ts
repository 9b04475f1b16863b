// Show a session's changes, files and logs in read-only editors.
import * as vscode from 'vscode';
import type { Para } from './client';
import type { Session } from './generated/protocol';
import { toParams } from './sessions';
import { sanitize } from './display';

const SCHEME = 'para';
type DocumentQuery = { name: string; repo: string; path: string; side: 'base' | 'session' | 'log'; round: number };

/** Provides both sides of each changed file, and logs, from the server. */
export class Review implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly registration = vscode.workspace.registerTextDocumentContentProvider(SCHEME, this);
  private round = 0; // part of each URI, so that VS Code does not show cached content

  constructor(private readonly para: Para) {}

  /** Show a session's changes side by side; return notes on omitted files, or undefined without changes. */
  async show(session: Session): Promise<readonly string[] | undefined> {
    const { files, omitted } = await this.para.run('para.diff', toParams(session), session.name);
    this.round++;
    const resources = files.map(({ path, status }) => {
      const [before, after] = [this.uri(session, path, 'base'), this.uri(session, path, 'session')];
      return [after, status === 'A' ? undefined : before, status === 'D' ? undefined : after];
    });
    if (!files.length) return undefined;
    await vscode.commands.executeCommand('vscode.changes', sanitize(`Changes of ${session.name}`), resources);
    return omitted;
  }

  /** Show the output of a session's agent. */
  async log(session: Session): Promise<void> {
    this.round++;
    await vscode.window.showTextDocument(this.uri(session, `${session.name}.log`, 'log'), { preview: true });
  }

  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    const { name, repo, path, side } = JSON.parse(uri.query) as DocumentQuery;
    if (side === 'log') return (await this.para.request('para.logs', { name, repo })).text;
    const { binary, cut, text } = await this.para.request('para.file', { name, repo, path, side });
    return (binary ? 'Binary file\n' : text) + (cut ? '\nThe file is too long, the rest is omitted\n' : '');
  }

  dispose(): void {
    this.registration.dispose();
  }

  private uri(session: Session, path: string, side: DocumentQuery['side']): vscode.Uri {
    const query: DocumentQuery = { ...toParams(session), path, side, round: this.round };
    return vscode.Uri.from({ scheme: SCHEME, path: `/${sanitize(path)}`, query: JSON.stringify(query) });
  }
}
