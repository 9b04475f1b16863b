// The only place that shows text from elsewhere: VS Code makes links and icons of some of it.
import * as vscode from 'vscode';

const LONGEST = 4000; // characters of a text
const HIDDEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const MARKUP = /\](?=\()|\$(?=\()/g; // the middle of [text](address), the beginning of $(icon)
const { showInformationMessage: info, showWarningMessage: warning, showErrorMessage: error } = vscode.window;
const VOICES = { info, warning, error };
export type Voice = keyof typeof VOICES;
export type Choice<T> = { label: string; description?: string; detail?: string; iconPath?: vscode.ThemeIcon; value: T };
export type Step = { message?: string; increment?: number };

/** Make a text that is shown as it is: bounded, without links, icons and hidden characters. */
export function plain(text: string): string {
  const code = (hidden: string) => `\\u{${(hidden.codePointAt(0) ?? 0).toString(16)}}`;
  const told = text.slice(0, 2 * LONGEST).replace(HIDDEN, code).replace(MARKUP, '$& ');
  return told.length > LONGEST ? `${told.slice(0, LONGEST - 1)}…` : told;
}

/** Notify a person; gives the button that was chosen. */
export async function notify(voice: Voice, message: string, ...buttons: string[]): Promise<string | undefined> {
  const chosen = await VOICES[voice](plain(message), ...buttons.map((title) => ({ title: plain(title) })));
  return chosen && buttons.find((title) => plain(title) === chosen.title);
}

/** Show a line in the status bar for a while; the icon is one of VS Code's. */
export function remark(icon: string, text: string): void {
  vscode.window.setStatusBarMessage(`$(${icon}) ${plain(text)}`, 5000);
}

/** Let a person choose one of several. */
export async function pick<T>(title: string, items: readonly Choice<T>[], placeHolder = ''): Promise<Choice<T> | undefined> {
  const shown = items.map(({ label, description = '', detail = '', iconPath, value }) => {
    const texts = { label: plain(label), description: plain(description), detail: plain(detail) };
    return { ...texts, ...(iconPath && { iconPath }), value };
  });
  return vscode.window.showQuickPick(shown, { title: plain(title), placeHolder: plain(placeHolder), matchOnDetail: true });
}

/** Let a person type a line. */
export async function input(title: string, value: string, prompt: string): Promise<string | undefined> {
  return vscode.window.showInputBox({ title: plain(title), value, prompt: plain(prompt), ignoreFocusOut: true });
}

/** Show how far some work is, with a way to stop it. */
export async function progress<T>(title: string, work: (tell: (step: Step) => void, token: vscode.CancellationToken) => Promise<T>): Promise<T> {
  const shown = { location: vscode.ProgressLocation.Notification, title: plain(title), cancellable: true };
  return vscode.window.withProgress(shown, (shows, token) =>
    work(({ message, ...step }) => shows.report({ ...step, ...(message !== undefined && { message: plain(message) }) }), token),
  );
}
