// The only place that puts the pieces together.
import * as vscode from 'vscode';
import { Para } from './client';
import { Review } from './review';
import { Sessions } from './sessions';
import { register } from './ui';

/** Come to life: everything is there at once, the server when it answers. */
export function activate(context: vscode.ExtensionContext): void {
  const began = performance.now();
  const log = vscode.window.createOutputChannel('Para', { log: true });
  const para = new Para(context, log);
  const review = new Review(para);
  const sessions = new Sessions(para);
  const start = () => para.attempt(() => para.start());
  const ready = para.onChange(() => {
    if (para.trouble) return;
    log.info(`ready ${Math.round(performance.now() - began)} ms after activation`);
    ready.dispose();
  });
  // what the server was told at its start has changed
  const trusted = vscode.workspace.onDidGrantWorkspaceTrust(start);
  const moved = vscode.workspace.onDidChangeConfiguration(({ affectsConfiguration: affects }) => {
    if (affects('para.editor.server') || affects('para.editor.python')) void start();
  });
  context.subscriptions.push(log, para, review, sessions, ready, trusted, moved, ...register(para, sessions, review));
  void start();
}
