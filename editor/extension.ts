// The only place that puts the pieces together.
import * as vscode from 'vscode';
import { Para } from './client';
import { Review } from './review';
import { Sessions } from './sessions';
import { register } from './ui';

/** Come to life: everything is there at once, the server when it answers. */
export function activate(context: vscode.ExtensionContext): void {
  const log = vscode.window.createOutputChannel('Para', { log: true });
  log.info('activated');
  const para = new Para(context, log);
  const review = new Review(para);
  const sessions = new Sessions(para);
  context.subscriptions.push(log, para, review, sessions, ...register(para, sessions, review));
  context.subscriptions.push(
    // what the server was told at its start has changed
    vscode.workspace.onDidGrantWorkspaceTrust(() => para.attempt(() => para.start())),
    vscode.workspace.onDidChangeConfiguration(({ affectsConfiguration: moved }) => {
      if (moved('para.editor.server') || moved('para.editor.python')) void para.attempt(() => para.start());
    }),
  );
  void para.attempt(() => para.start());
}
