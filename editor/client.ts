// The only place that talks to the server: starts it, asks it, and offers what it proposes.
import * as vscode from 'vscode';
import { CloseAction, ErrorAction, LanguageClient, ResponseError, State } from 'vscode-languageclient/node';
import type { LanguageClientOptions, Middleware } from 'vscode-languageclient/node';
import { SETTINGS, TITLES } from './generated/protocol';
import type { Command, Commands, Problem, Remedy, SessionsChanged } from './generated/protocol';
import { Failed, findServer } from './server';

const CRASHES = 3; // that are forgiven within
const FORGIVEN = 3 * 60_000; // milliseconds
const CANCELLED = -32800;
const CONFIGURED = 'workspace/didChangeConfiguration';
const MORE = 'More…';
const NEVER = new vscode.CancellationTokenSource().token;
const RESTART = { title: 'Restart Server', command: 'para.ui.restart' };
const LOG = { title: 'Show the Log', command: 'para.ui.log' };
// what a person is asked or shown more for than the command itself
const SHOWN: Readonly<Record<string, string>> = {
  ...{ 'para.list': 'para.sessions.focus', 'para.show': 'para.sessions.focus', 'para.open': 'para.ui.attach' },
  ...Object.fromEntries(['doctor', 'diff', 'logs', 'finish', 'auth.setup'].map((verb) => [`para.${verb}`, `para.ui.${verb}`])),
};
const { showInformationMessage: info, showWarningMessage: warning, showErrorMessage: error } = vscode.window;
const VOICES = { info, warning, error };
type Voice = keyof typeof VOICES;
export type Work = () => Promise<unknown> | Thenable<unknown> | void;
type Progress = { message?: string; percentage?: number };

/** The connection to the server; `trouble` says why there is none. */
export class Para implements vscode.Disposable {
  trouble: string | undefined;
  private client: LanguageClient | undefined;
  private starting: Promise<void> | undefined;
  private crashes: number[] = [];
  private tokens = 0;
  private readonly changed = new vscode.EventEmitter<SessionsChanged | undefined>();
  /** Fires with what the server tells of the sessions, and with nothing when it is gone. */
  readonly onChange = this.changed.event;

  constructor(
    private readonly context: vscode.ExtensionContext,
    readonly log: vscode.LogOutputChannel,
  ) {}

  /** Start the server; one that runs is ended first. */
  async start(): Promise<void> {
    await this.starting?.catch(() => undefined);
    this.starting = this.begin().finally(() => (this.starting = undefined));
    await this.starting;
  }

  /** Run a command; raises Failed, and CancellationError where it was stopped. */
  async ask<C extends Command>(command: C, params: Commands[C][0], token = NEVER, tell?: (said: Progress) => void): Promise<Commands[C][1]> {
    await this.starting?.catch(() => undefined);
    const client = this.client;
    if (client?.state !== State.Running) throw this.down();
    const workDoneToken = tell && `editor-${++this.tokens}`;
    const heard = client.onNotification('$/progress', (said: { token: unknown; value: Progress }) => {
      if (tell && said.token === workDoneToken) tell(said.value);
    });
    try {
      const asked = { command, arguments: [params], ...(workDoneToken && { workDoneToken }) };
      return await client.sendRequest<Commands[C][1]>('workspace/executeCommand', asked, token);
    } catch (error) {
      if (error instanceof ResponseError && error.code === CANCELLED) {
        vscode.window.setStatusBarMessage('$(circle-slash) Cancelled: nothing is left of it', 5000);
        throw new vscode.CancellationError();
      }
      throw client.state === State.Running ? error : this.down();
    } finally {
      heard.dispose();
    }
  }

  /** Run a command that takes a while, with its progress and a way to stop it. */
  async run<C extends Command>(command: C, params: Commands[C][0], of = ''): Promise<Commands[C][1]> {
    const shown = { location: vscode.ProgressLocation.Notification, cancellable: true };
    const title = `${TITLES[command]} ${of}`.trim();
    return vscode.window.withProgress({ ...shown, title }, (progress, token) => {
      let reached = 0;
      return this.ask(command, params, token, ({ message, percentage = reached }) => {
        progress.report({ increment: percentage - reached, ...(message && { message }) });
        reached = percentage;
      });
    });
  }

  /** Do something for a person: what goes wrong is shown, with its remedies as buttons. */
  async attempt(work: Work): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (!(error instanceof vscode.CancellationError)) void this.show(problemOf(error), work);
    }
  }

  /** Show a problem, and offer what failed once more when a remedy is through. */
  async show({ slug, message, remedies }: Problem, again?: Work): Promise<void> {
    this.log.error(`${slug}: ${message}`);
    const can = ({ command, setting, url }: Remedy) => Boolean(command ?? setting ?? url);
    const advice = remedies.filter((remedy) => !can(remedy)).map(({ title }) => title);
    await this.offer('error', [message, ...advice].join('. '), remedies.filter(can), again);
  }

  /** Offer remedies as buttons, and carry out the one that is chosen. */
  async offer(voice: Voice, message: string, remedies: readonly Remedy[], again?: Work): Promise<void> {
    const titles = remedies.map(({ title }) => title);
    const buttons = titles.length > 3 ? [...titles.slice(0, 2), MORE] : titles; // as many as fit
    let chosen = await VOICES[voice](message, ...buttons);
    if (chosen === MORE) chosen = await vscode.window.showQuickPick(titles, { title: message });
    const remedy = remedies.find(({ title }) => title === chosen);
    if (!remedy) return;
    await this.attempt(async () => {
      if (!(await this.carryOut(remedy)) || !again) return;
      if (await info(`${remedy.title}: done`, 'Try Again')) await this.attempt(again);
    });
  }

  dispose(): void {
    void this.client?.dispose(); // stops the server first
  }

  /** Carry out a remedy; tells whether something is different now. */
  private async carryOut({ command, params, setting, url }: Remedy): Promise<boolean> {
    const { executeCommand } = vscode.commands;
    if (setting) await executeCommand('workbench.action.openSettings', `para.${setting}`);
    else if (url) await vscode.env.openExternal(vscode.Uri.parse(url));
    else if (command && command in TITLES && !(command in SHOWN)) {
      await this.run(command as Command, (params ?? {}) as Commands[Command][0]);
      return true;
    } else if (command) await executeCommand(SHOWN[command] ?? command, params);
    return false;
  }

  private async begin(): Promise<void> {
    await this.client?.dispose().catch(() => undefined);
    this.client = undefined;
    this.crashes = [];
    this.lost(undefined);
    try {
      const command = await findServer(this.context);
      this.log.info(`starting ${command}`);
      this.client = new LanguageClient('para', 'Para', { command, args: ['--stdio'] }, this.options());
      this.client.onNotification('para/sessionsChanged', (change: SessionsChanged) => this.changed.fire(change));
      this.client.onDidChangeState(({ newState }) => {
        if (newState === State.Running) setContext('connected', true);
        else this.lost(this.trouble);
      });
      await this.client.start();
    } catch (error) {
      this.lost(problemOf(error).message);
      throw error;
    }
  }

  private options(): LanguageClientOptions {
    const error = () => ({ action: ErrorAction.Continue, handled: true });
    const closed = () => ({ action: this.crashed(), handled: true });
    const initializationOptions = { notifications: true, trusted: vscode.workspace.isTrusted };
    const shared = { outputChannel: this.log, initializationFailedHandler: () => false };
    const workspace: Middleware['workspace'] = {
      configuration: ({ items }) => items.map(({ section }) => (section === 'para' ? chosenSettings() : null)),
      // the server then asks for what it needs
      didChangeConfiguration: async () => this.client?.sendNotification(CONFIGURED, { settings: null }),
    };
    return { ...shared, initializationOptions, errorHandler: { error, closed }, middleware: { workspace } };
  }

  private crashed(): CloseAction {
    this.crashes = [...this.crashes, Date.now()].filter((at) => Date.now() - at < FORGIVEN);
    if (this.crashes.length <= CRASHES) return CloseAction.Restart;
    this.lost(`it has ended ${CRASHES + 1} times within ${FORGIVEN / 60_000} minutes`);
    void this.show(this.down().problem);
    return CloseAction.DoNotRestart;
  }

  private lost(trouble: string | undefined): void {
    this.trouble = trouble;
    setContext('trouble', trouble !== undefined);
    setContext('connected', false);
    this.changed.fire(undefined);
  }

  private down(): Failed {
    const why = this.trouble ? `: ${this.trouble}` : '';
    return new Failed('editor.server-down', `The server of Para does not run${why}`, RESTART, LOG);
  }
}

/** Let `when` clauses know. */
export function setContext(key: string, value: boolean): void {
  void vscode.commands.executeCommand('setContext', `para.${key}`, value);
}

/** Read what an error tells; the server's own is a Problem already. */
function problemOf(error: unknown): Problem {
  if (error instanceof Failed) return error.problem;
  const told: unknown = error instanceof ResponseError ? error.data : undefined;
  if (typeof told === 'object' && told !== null && 'slug' in told) return told as Problem;
  return new Failed('editor.bug', error instanceof Error ? error.message : String(error), LOG).problem;
}

/** Collect what a person has set: VS Code's own answer would hide other layers behind defaults. */
function chosenSettings(): Record<string, Record<string, unknown>> {
  const settings = vscode.workspace.getConfiguration('para');
  const found: Record<string, Record<string, unknown>> = {};
  for (const key of SETTINGS) {
    const told = settings.inspect(key);
    const ofFolder = vscode.workspace.isTrusted ? told?.workspaceValue : undefined;
    const [section = '', name = ''] = key.split('.');
    const value = ofFolder ?? told?.globalValue;
    if (value !== undefined) found[section] = { ...found[section], [name]: value };
  }
  return found;
}
