// The only place that puts the pieces together.
import * as vscode from 'vscode';
import { Para } from './client';
import { Review } from './review';
import { Sessions } from './sessions';
import { register } from './ui';

/** Come to life: everything is there at once, the server when it answers. */
export function activate(context: vscode.ExtensionContext): void {
  const since = Date.now();
  const log = vscode.window.createOutputChannel('Para', { log: true });
  const para = new Para(context, log);
  const review = new Review(para);
  const sessions = new Sessions(para);
  context.subscriptions.push(log, para, review, sessions, ...register(para, sessions, review));
  context.subscriptions.push(
    // what the server was told at its start has changed
    vscode.workspace.onDidGrantWorkspaceTrust(() => para.attempt(() => para.start())),
    vscode.workspace.onDidChangeConfiguration((event) => {
      const moved = ['para.editor.server', 'para.editor.python'].some((key) => event.affectsConfiguration(key));
      if (moved) void para.attempt(() => para.start());
    }),
  );
  const shown = para.onChange((change) => {
    if (!change) return;
    log.info(`the sessions show ${Date.now() - since} ms after activation`);
    shown.dispose();
  });
  void para.attempt(() => para.start());
}
