// Start the server, send it requests, and offer its remedies.
import * as vscode from 'vscode';
import * as lsp from 'vscode-languageclient/node';
import { SETTINGS, TITLES, type Command, type Commands, type SessionsChanged } from './generated/protocol';
import { ProblemError, findServer, type Action, type ProblemLike } from './server';
import { notify, showPick, sanitize, runWithProgress, showStatus, type Severity } from './display';

const MAX_CRASHES = 3; // within CRASH_PERIOD, before the server is not restarted
const CRASH_PERIOD = 3 * 60_000; // milliseconds
const MORE = 'More…';
const RESTART = { title: 'Restart Server', command: 'para.ui.restart' };
const UNCANCELLABLE = new vscode.CancellationTokenSource().token;
const SHOW_LOG = { title: 'Show Log', command: 'para.ui.log' };
const STARTING = 'it is starting';
const NO_SESSIONS = { sessions: [], running: 0, limit: 0, attention: [] };
// commands of the server with a command of the extension that asks for more or shows the result
const EDITOR_COMMANDS: Readonly<Record<string, string>> = {
  ...{ 'para.list': 'para.sessions.focus', 'para.show': 'para.sessions.focus', 'para.open': 'para.ui.attach' },
  ...Object.fromEntries(['doctor', 'diff', 'logs', 'finish', 'auth.setup'].map((verb) => [`para.${verb}`, `para.ui.${verb}`])),
};
type Progress = { message?: string; percentage?: number };

/** The connection to the server. */
export class Para implements vscode.Disposable {
  /** The reason why there is no connection. */
  unavailable: string | undefined = STARTING;
  private client: lsp.LanguageClient | undefined;
  private starting: Promise<void> | undefined;
  private tokens = 0;
  private readonly changed = new vscode.EventEmitter<SessionsChanged>();
  /** Fires on every change of the sessions, and when the connection is lost. */
  readonly onChange = this.changed.event;

  constructor(
    private readonly context: vscode.ExtensionContext,
    readonly log: vscode.LogOutputChannel,
  ) {}

  /** Start the server; stop the running one first. */
  async start(): Promise<void> {
    await this.starting?.catch(() => undefined);
    this.starting = this.startClient().finally(() => (this.starting = undefined));
    await this.starting;
  }

  /** Run a command and return its result; throws a ProblemError if there is no server. */
  async request<C extends Command>(command: C, params: Commands[C][0], token = UNCANCELLABLE, onProgress?: (progress: Progress) => void): Promise<Commands[C][1]> {
    await this.starting?.catch(() => undefined);
    const client = this.client;
    if (client?.state !== lsp.State.Running) throw this.createServerError();
    const workDoneToken = `editor-${++this.tokens}`;
    const subscription = onProgress && client.onProgress(lsp.WorkDoneProgress.type, workDoneToken, onProgress);
    try {
      const payload = { command, arguments: [params], ...(onProgress && { workDoneToken }) };
      return await client.sendRequest<Commands[C][1]>('workspace/executeCommand', payload, token);
    } catch (error) {
      throw client.state === lsp.State.Running ? error : this.createServerError();
    } finally {
      subscription?.dispose();
    }
  }

  /** Run a long command with a progress notification that can cancel it. */
  async run<C extends Command>(command: C, params: Commands[C][0], of = ''): Promise<Commands[C][1]> {
    const title = `${TITLES[command]} ${of}`.trim();
    return runWithProgress(title, (report, token) => {
      let reached = 0;
      return this.request(command, params, token, ({ message, percentage = reached }) => {
        report({ increment: percentage - reached, ...(message && { message }) });
        reached = percentage;
      });
    });
  }

  /** Run an action, and show its error with the remedies as buttons. */
  async attempt(work: () => unknown): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (error instanceof lsp.ResponseError && error.code === lsp.LSPErrorCodes.RequestCancelled) {
        showStatus('circle-slash', 'Cancelled and rolled back');
      } else if (!(error instanceof vscode.CancellationError)) void this.showProblem(toProblem(error), work);
    }
  }

  /** Show a problem, and offer to run the failed action again after a remedy. */
  async showProblem({ slug, message, remedies }: ProblemLike, again?: () => unknown): Promise<void> {
    this.log.error(sanitize(`${slug}: ${message}`));
    const isActionable = ({ command, setting, url }: Action) => Boolean(command ?? setting ?? url);
    const advice = remedies.filter((remedy) => !isActionable(remedy)).map(({ title }) => title);
    await this.showActions('error', [message, ...advice].join('. '), remedies.filter(isActionable), again);
  }

  /** Show a notification with actions as buttons, and run the chosen one. */
  async showActions(severity: Severity, message: string, offers: readonly Action[], again?: () => unknown): Promise<void> {
    const titles = offers.map(({ title }) => title);
    const buttons = titles.length > 3 ? [...titles.slice(0, 2), MORE] : titles; // a notification has room for three
    let chosen = await notify(severity, message, ...buttons);
    if (chosen === MORE) chosen = (await showPick(message, titles.map((label) => ({ label, value: label }))))?.value;
    const action = offers.find(({ title }) => title === chosen);
    if (!action) return;
    await this.attempt(async () => {
      if (!(await this.runAction(action))) return;
      if ((await notify('info', `${action.title}: done`, ...(again ? ['Try Again'] : []))) && again) await this.attempt(again);
    });
  }

  dispose(): void {
    void this.client?.dispose(); // stops the server first
  }

  /** Run an action; return whether it was a command that may have fixed the problem. */
  private async runAction({ command, params, setting, url }: Action): Promise<boolean> {
    const { executeCommand } = vscode.commands;
    if (setting) await executeCommand('workbench.action.openSettings', `para.${setting}`);
    else if (url?.startsWith('https://')) await vscode.env.openExternal(vscode.Uri.parse(url));
    else if (command && command in TITLES && !(command in EDITOR_COMMANDS)) {
      await this.run(command as Command, (params ?? {}) as Commands[Command][0]);
      return true;
    } else if (command?.startsWith('para.')) await executeCommand(EDITOR_COMMANDS[command] ?? command, params);
    return false;
  }

  private async startClient(): Promise<void> {
    await this.client?.dispose().catch(() => undefined);
    this.client = undefined;
    this.reportDisconnected(STARTING);
    try {
      const command = await findServer(this.context);
      this.log.info(`Starting ${command}`);
      const client = new lsp.LanguageClient('para', 'Para', { command, args: ['--stdio'] }, this.options());
      client.onNotification('para/sessionsChanged', (change: SessionsChanged) => this.changed.fire(change));
      client.onDidChangeState(({ newState }) => {
        if (newState === lsp.State.Running) this.unavailable = undefined;
        else this.reportDisconnected(this.unavailable ?? STARTING);
      });
      this.client = client;
      await client.start();
    } catch (error) {
      this.reportDisconnected(toProblem(error).message);
      throw error;
    }
  }

  private options(): lsp.LanguageClientOptions {
    let crashes: number[] = [];
    const error = () => ({ action: lsp.ErrorAction.Continue, handled: true });
    const closed = () => {
      crashes = [...crashes, Date.now()].filter((at) => Date.now() - at < CRASH_PERIOD);
      if (crashes.length <= MAX_CRASHES) return { action: lsp.CloseAction.Restart, handled: true };
      this.reportDisconnected(`it stopped ${MAX_CRASHES + 1} times within ${CRASH_PERIOD / 60_000} minutes`);
      void this.showProblem(this.createServerError());
      return { action: lsp.CloseAction.DoNotRestart, handled: true };
    };
    const initializationOptions = { notifications: true, callOnce: true, trusted: vscode.workspace.isTrusted };
    const shared = { outputChannel: this.log, initializationFailedHandler: () => false };
    const workspace: lsp.Middleware['workspace'] = {
      configuration: ({ items }) =>
        items.map(({ section, scopeUri }) => (section === 'para' ? readExplicitSettings(scopeUri) : null)),
      // the server then requests the settings
      didChangeConfiguration: async () => this.client?.sendNotification('workspace/didChangeConfiguration', { settings: null }),
    };
    return { ...shared, initializationOptions, errorHandler: { error, closed }, middleware: { workspace } };
  }

  private reportDisconnected(trouble: string): void {
    this.unavailable = trouble;
    const [text, severity] = trouble === STARTING ? ['Para', 'ok' as const] : ['Para: no server', 'error' as const];
    this.changed.fire({ ...NO_SESSIONS, statusBar: { text, tooltip: `The server is not running: ${trouble}`, severity } });
  }

  private createServerError(): ProblemError {
    const why = this.unavailable ?? 'it stopped';
    return new ProblemError('editor.server-down', `The Para server is not running: ${why}`, [RESTART, SHOW_LOG]);
  }
}

/** Convert an error to a problem; an error of the server contains one. */
function toProblem(error: unknown): ProblemLike {
  if (error instanceof ProblemError) return error;
  const data: unknown = error instanceof lsp.ResponseError ? error.data : undefined;
  if (typeof data === 'object' && data !== null && 'slug' in data) return data as ProblemLike;
  return new ProblemError('editor.bug', error instanceof Error ? error.message : String(error), [SHOW_LOG]);
}

/** Return the settings that the user set; VS Code's defaults would override other layers. */
function readExplicitSettings(folder?: string): Record<string, unknown> {
  const settings = vscode.workspace.getConfiguration('para', folder === undefined ? undefined : vscode.Uri.parse(folder));
  const chosen = SETTINGS.map((key) => {
    const inspected = settings.inspect(key);
    const local = inspected?.workspaceFolderValue ?? inspected?.workspaceValue;
    return [key, (vscode.workspace.isTrusted ? local : undefined) ?? inspected?.globalValue];
  });
  return Object.fromEntries(chosen.filter(([, value]) => value !== undefined));
}
