// The only module that shows text: VS Code would render links and icons in text of agents and repositories.
import * as vscode from 'vscode';

const MAX_LENGTH = 4000; // characters
const HIDDEN = /(?![\n\t])[\p{Cc}\p{Cf}\p{Cs}\p{Co}\p{Zl}\p{Zp}]/gu;
const MARKUP = /\](?=\()|\$(?=\()/g; // the middle of [text](address), the beginning of $(icon)
const { showInformationMessage: info, showWarningMessage: warning, showErrorMessage: error } = vscode.window;
const SHOW_MESSAGE = { info, warning, error };
export type Severity = keyof typeof SHOW_MESSAGE;
export type Choice<T> = { label: string; description?: string; detail?: string; iconPath?: vscode.ThemeIcon; value: T };
export type Step = { message?: string; increment?: number };

/** Return a text that is shown literally: limited in length, without links, icons and hidden characters. */
export function sanitize(text: string): string {
  const code = (hidden: string) => `\\u{${(hidden.codePointAt(0) ?? 0).toString(16)}}`;
  const safe = text.slice(0, 2 * MAX_LENGTH).replace(HIDDEN, code).replace(MARKUP, '$& ');
  return safe.length > MAX_LENGTH ? `${safe.slice(0, MAX_LENGTH - 1)}…` : safe;
}

/** Show a notification and return the chosen button. */
export async function notify(voice: Severity, message: string, ...buttons: string[]): Promise<string | undefined> {
  const chosen = await SHOW_MESSAGE[voice](sanitize(message), ...buttons.map((title) => ({ title: sanitize(title) })));
  return chosen && buttons.find((title) => sanitize(title) === chosen.title);
}

/** Show a line in the status bar for 5 seconds, with an icon of VS Code. */
export function showStatus(icon: string, text: string): void {
  vscode.window.setStatusBarMessage(`$(${icon}) ${sanitize(text)}`, 5000);
}

/** Ask the user to choose an item. */
export async function showPick<T>(title: string, items: readonly Choice<T>[], placeHolder = ''): Promise<Choice<T> | undefined> {
  const safeItems = items.map(({ label, description = '', detail = '', iconPath, value }) => {
    const texts = { label: sanitize(label), description: sanitize(description), detail: sanitize(detail) };
    return { ...texts, ...(iconPath && { iconPath }), value };
  });
  return vscode.window.showQuickPick(safeItems, { title: sanitize(title), placeHolder: sanitize(placeHolder), matchOnDetail: true });
}

/** Ask the user for a line of text. */
export async function showInput(title: string, value: string, prompt: string): Promise<string | undefined> {
  return vscode.window.showInputBox({ title: sanitize(title), value, prompt: sanitize(prompt), ignoreFocusOut: true });
}

/** Show the progress of work in a notification that can cancel it. */
export async function runWithProgress<T>(title: string, work: (report: (step: Step) => void, token: vscode.CancellationToken) => Promise<T>): Promise<T> {
  const options = { location: vscode.ProgressLocation.Notification, title: sanitize(title), cancellable: true };
  return vscode.window.withProgress(options, (progress, token) =>
    work(({ message, ...step }) => progress.report({ ...step, ...(message !== undefined && { message: sanitize(message) }) }), token),
  );
}
