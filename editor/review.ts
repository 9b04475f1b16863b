// The only place that shows what sessions hold, read-only: changes, files, logs.
import * as vscode from 'vscode';
import type { Para } from './client';
import type { Session } from './generated/protocol';
import { named } from './sessions';

const SCHEME = 'para';
type Asked = { id: string; name: string; repo: string; path: string; side: 'base' | 'session' | 'log' };

/** Both sides of each changed file, from the server's data. */
export class Review implements vscode.TextDocumentContentProvider, vscode.Disposable {
  private readonly registered = vscode.workspace.registerTextDocumentContentProvider(SCHEME, this);
  private round = 0;

  constructor(private readonly para: Para) {}

  /** Show all changes of a session beside each other; tells whether there are any. */
  async show(session: Session): Promise<boolean> {
    const { files } = await this.para.run('para.diff', named(session), session.name);
    const round = ++this.round; // what was shown before may have changed
    const compared = files.map(({ path, status }) => [
      this.uri(session, path, 'session', round),
      status === 'A' ? undefined : this.uri(session, path, 'base', round),
      status === 'D' ? undefined : this.uri(session, path, 'session', round),
    ]);
    if (!compared.length) return false;
    await vscode.commands.executeCommand('vscode.changes', `Changes of ${session.name}`, compared);
    return true;
  }

  /** Show what a session's agent printed. */
  async log(session: Session): Promise<void> {
    const uri = this.uri(session, `${session.name}.log`, 'log', ++this.round);
    await vscode.window.showTextDocument(await vscode.workspace.openTextDocument(uri), { preview: true });
  }

  async provideTextDocumentContent(uri: vscode.Uri): Promise<string> {
    const { name, repo, path, side } = JSON.parse(uri.query) as Asked;
    if (side === 'log') return (await this.para.ask('para.logs', { name, repo })).text;
    const file = await this.para.ask('para.file', { name, repo, path, side });
    if (file.binary) return 'This file is binary.\n';
    return file.cut ? `${file.text}\nThe rest is left out: the file is too long.\n` : file.text;
  }

  dispose(): void {
    this.registered.dispose();
  }

  private uri({ id, name, repo }: Session, path: string, side: Asked['side'], round: number): vscode.Uri {
    const query = JSON.stringify({ id, name, repo, path, side, round });
    return vscode.Uri.from({ scheme: SCHEME, path: `/${path}`, query });
  }
}
