// Entry point: create the objects of the extension and start the server.
import * as vscode from 'vscode';
import { Para } from './client';
import { Review } from './review';
import { SessionsView } from './sessions';
import { register } from './commands';

/** Register all views and commands at once, and start the server in the background. */
export function activate(context: vscode.ExtensionContext): void {
  const activatedAt = performance.now();
  const log = vscode.window.createOutputChannel('Para', { log: true });
  const para = new Para(context, log);
  const review = new Review(para);
  const sessions = new SessionsView(para);
  const start = () => para.attempt(() => para.start());
  const readyLogger = para.onChange(() => {
    if (para.unavailable) return;
    log.info(`ready ${Math.round(performance.now() - activatedAt)} ms after activation`);
    readyLogger.dispose();
  });
  // these values are sent to the server at its start
  const trustGranted = vscode.workspace.onDidGrantWorkspaceTrust(start);
  const serverChanged = vscode.workspace.onDidChangeConfiguration(({ affectsConfiguration: affects }) => {
    if (affects('para.editor.server') || affects('para.editor.python')) void start();
  });
  context.subscriptions.push(log, para, review, sessions, readyLogger, trustGranted, serverChanged, ...register(para, sessions, review));
  void start();
}
