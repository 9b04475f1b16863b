// The only place that shows what sessions hold, read-only: changes, files, logs.
import * as vscode from 'vscode';
import type { Para } from './client';
import type { Session } from './generated/protocol';
import { named } from './sessions';
import { plain } from './shown';

const SCHEME = 'para';
type Asked = { name: string; repo: string; path: string; side: 'base' | 'session' | 'log'; round: number };

/** Both sides of each changed file, from the server's data. */
export class Review implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly registered = vscode.workspace.registerTextDocumentContentProvider(SCHEME, this);
  private round = 0; // what was shown before may have changed

  constructor(private readonly para: Para) {}

  /** Show the changes of a session beside each other; returns what is left out, or undefined where there are none. */
  async show(session: Session): Promise<readonly string[] | undefined> {
    const { files, omitted } = await this.para.run('para.diff', named(session), session.name);
    this.round++;
    const compared = files.map(({ path, status }) => {
      const [before, after] = [this.uri(session, path, 'base'), this.uri(session, path, 'session')];
      return [after, status === 'A' ? undefined : before, status === 'D' ? undefined : after];
    });
    if (!files.length) return undefined;
    await vscode.commands.executeCommand('vscode.changes', plain(`Changes of ${session.name}`), compared);
    return omitted;
  }

  /** Show what a session's agent printed. */
  async log(session: Session): Promise<void> {
    this.round++;
    await vscode.window.showTextDocument(this.uri(session, `${session.name}.log`, 'log'), { preview: true });
  }

  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    const { name, repo, path, side } = JSON.parse(uri.query) as Asked;
    if (side === 'log') return (await this.para.ask('para.logs', { name, repo })).text;
    const { binary, cut, text } = await this.para.ask('para.file', { name, repo, path, side });
    return (binary ? 'This file is binary.\n' : text) + (cut ? '\nThe rest is left out: the file is too long.\n' : '');
  }

  dispose(): void {
    this.registered.dispose();
  }

  private uri(session: Session, path: string, side: Asked['side']): vscode.Uri {
    const asked: Asked = { ...named(session), path, side, round: this.round };
    return vscode.Uri.from({ scheme: SCHEME, path: `/${plain(path)}`, query: JSON.stringify(asked) });
  }
}
