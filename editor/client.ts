// The only place that talks to the server: starts it, asks it, and shows what went wrong.
import * as vscode from 'vscode';
import { CloseAction, ErrorAction, LanguageClient, ResponseError, State } from 'vscode-languageclient/node';
import type { LanguageClientOptions } from 'vscode-languageclient/node';
import { SETTINGS, TITLES } from './generated/protocol';
import type { Command, Commands, Problem, Remedy, SessionsChanged } from './generated/protocol';
import { Failed, findServer } from './server';

const CRASHES = 3; // that are forgiven within
const FORGIVEN = 3 * 60_000; // milliseconds
const CANCELLED = -32800;
const EXECUTE = 'workspace/executeCommand';
const NEVER = new vscode.CancellationTokenSource().token;
type Progress = { kind: string; message?: string; percentage?: number };

/** The connection to the server; `trouble` says why there is none. */
export class Para implements vscode.Disposable {
  trouble: string | undefined;
  private client: LanguageClient | undefined;
  private starting: Promise<void> | undefined;
  private crashes: number[] = [];
  private token = 0;
  private readonly changed = new vscode.EventEmitter<SessionsChanged | undefined>();
  /** Fires with what the server tells of the sessions, and with nothing when it is gone. */
  readonly onChange = this.changed.event;

  constructor(
    private readonly context: vscode.ExtensionContext,
    readonly log: vscode.LogOutputChannel,
  ) {}

  get connected(): boolean {
    return this.client?.state === State.Running;
  }

  /** Start the server; one that runs is ended first. */
  async start(): Promise<void> {
    await this.starting;
    this.starting = this.begin().finally(() => (this.starting = undefined));
    await this.starting;
  }

  /** Run a command; raises Failed, and CancellationError where it was stopped. */
  async ask<C extends Command>(
    command: C,
    params: Commands[C][0],
    token: vscode.CancellationToken = NEVER,
    tell?: (progress: Progress) => void,
  ): Promise<Commands[C][1]> {
    await this.starting?.catch(() => undefined);
    const client = this.client;
    if (!client || !this.connected) throw this.down();
    const workDoneToken = tell ? `editor-${++this.token}` : undefined;
    const heard = tell && client.onNotification('$/progress', (said: { token: unknown; value: Progress }) => {
      if (said.token === workDoneToken) tell(said.value);
    });
    try {
      const asked = { command, arguments: [params], ...(workDoneToken && { workDoneToken }) };
      return await client.sendRequest<Commands[C][1]>(EXECUTE, asked, token);
    } catch (error) {
      throw this.understood(error);
    } finally {
      heard?.dispose();
    }
  }

  /** Run a command that takes a while, with its progress and a way to stop it. */
  async run<C extends Command>(command: C, params: Commands[C][0], of = ''): Promise<Commands[C][1]> {
    const title = `${TITLES[command]}${of && ` ${of}`}`;
    const location = vscode.ProgressLocation.Notification;
    return vscode.window.withProgress({ location, title, cancellable: true }, (progress, token) => {
      let reached = 0;
      return this.ask(command, params, token, ({ message, percentage = reached }) => {
        const increment = Math.max(0, percentage - reached);
        reached += increment;
        progress.report({ increment, ...(message && { message }) });
      });
    });
  }

  /** Do something for a person: what goes wrong is shown, with its remedies as buttons. */
  async attempt(work: () => Promise<unknown>): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (error instanceof vscode.CancellationError) {
        vscode.window.setStatusBarMessage('$(circle-slash) Cancelled: nothing is left of it', 5000);
        return;
      }
      void this.show(problemOf(error), work);
    }
  }

  /** Show a problem, carry out the remedy that is chosen, and offer what failed once more. */
  async show(problem: Problem, again?: () => Promise<unknown>): Promise<void> {
    this.log.error(`${problem.slug}: ${problem.message}`);
    const able = problem.remedies.filter(({ command, setting, url }) => command ?? setting ?? url);
    const advice = problem.remedies.filter((remedy) => !able.includes(remedy)).map(({ title }) => title);
    const message = [problem.message, ...advice].join('. ');
    const titles = able.map(({ title }) => title);
    const buttons = titles.length > 3 ? [...titles.slice(0, 2), 'More…'] : titles; // as many as fit
    let chosen = await vscode.window.showErrorMessage(message, ...buttons);
    if (chosen === 'More…') chosen = await vscode.window.showQuickPick(titles, { title: problem.message });
    const remedy = able.find(({ title }) => title === chosen);
    if (!remedy) return;
    await this.attempt(async () => {
      const done = await this.carryOut(remedy);
      if (!done || !again) return;
      const retry = 'Try Again';
      const answer = await vscode.window.showInformationMessage(`${remedy.title}: done`, retry);
      if (answer === retry) await this.attempt(again);
    });
  }

  dispose(): void {
    void this.client?.dispose(); // stops the server first
  }

  private async carryOut({ command, params, setting, url }: Remedy): Promise<boolean> {
    if (setting) await vscode.commands.executeCommand('workbench.action.openSettings', `para.${setting}`);
    else if (url) await vscode.env.openExternal(vscode.Uri.parse(url));
    else if (command && command in SHOWN) await vscode.commands.executeCommand(SHOWN[command] ?? '');
    else if (command && command in TITLES) {
      await this.run(command as Command, (params ?? {}) as Commands[Command][0]);
      return true;
    } else if (command) await vscode.commands.executeCommand(command);
    return false;
  }

  private async begin(): Promise<void> {
    const before = this.client;
    this.client = undefined;
    await before?.dispose().catch(() => undefined);
    this.trouble = undefined;
    this.crashes = [];
    this.lost();
    const since = Date.now();
    try {
      const command = await findServer(this.context, this.log);
      const found = Date.now() - since;
      this.client = new LanguageClient('para', 'Para', { command, args: ['--stdio'] }, this.options());
      this.client.onNotification('para/sessionsChanged', (change: SessionsChanged) => this.changed.fire(change));
      this.client.onDidChangeState(({ newState }) => this.turned(newState));
      await this.client.start();
      this.log.info(`${command} answered after ${Date.now() - since} ms, of which ${found} to find it`);
    } catch (error) {
      this.trouble = problemOf(error).message;
      this.lost();
      throw error;
    }
  }

  private options(): LanguageClientOptions {
    return {
      outputChannel: this.log,
      initializationOptions: { notifications: true, trusted: vscode.workspace.isTrusted },
      initializationFailedHandler: () => false,
      errorHandler: {
        error: () => ({ action: ErrorAction.Continue, handled: true }),
        closed: () => this.crashed(),
      },
      middleware: {
        workspace: {
          configuration: ({ items }) => items.map(({ section }) => (section === 'para' ? chosen() : null)),
          // the server asks for what it needs
          didChangeConfiguration: async () =>
            this.client?.sendNotification('workspace/didChangeConfiguration', { settings: null }),
        },
      },
    };
  }

  private crashed(): { action: CloseAction; handled: boolean } {
    const now = Date.now();
    this.crashes = this.crashes.filter((at) => now - at < FORGIVEN);
    if (this.crashes.length < CRASHES) {
      this.crashes.push(now);
      return { action: CloseAction.Restart, handled: true };
    }
    this.trouble = `it has ended ${CRASHES + 1} times within ${FORGIVEN / 60_000} minutes`;
    this.lost();
    void this.show(this.down().problem);
    return { action: CloseAction.DoNotRestart, handled: true };
  }

  private turned(state: State): void {
    void vscode.commands.executeCommand('setContext', 'para.connected', state === State.Running);
    if (state === State.Stopped) this.lost();
  }

  private lost(): void {
    void vscode.commands.executeCommand('setContext', 'para.trouble', this.trouble !== undefined);
    void vscode.commands.executeCommand('setContext', 'para.connected', false);
    this.changed.fire(undefined);
  }

  private down(): Failed {
    const why = this.trouble ? `: ${this.trouble}` : '';
    return new Failed(
      'editor.server-down',
      `The server of Para does not run${why}`,
      { title: 'Restart Server', command: 'para.ui.restart' },
      { title: 'Show the Log', command: 'para.ui.log' },
    );
  }

  private understood(error: unknown): unknown {
    if (error instanceof vscode.CancellationError) return error;
    if (error instanceof ResponseError && error.code === CANCELLED) return new vscode.CancellationError();
    return this.connected ? error : this.down();
  }
}

// what the extension has a way of its own to show
const SHOWN: Readonly<Record<string, string>> = {
  'para.list': 'para.sessions.focus',
  'para.show': 'para.sessions.focus',
  'para.doctor': 'para.ui.doctor',
  'para.diff': 'para.ui.diff',
};

/** Read what an error tells; the server's own is a Problem already. */
export function problemOf(error: unknown): Problem {
  if (error instanceof Failed) return error.problem;
  const told: unknown = error instanceof ResponseError ? error.data : undefined;
  if (typeof told === 'object' && told !== null && 'slug' in told) return told as Problem;
  const message = error instanceof Error ? error.message : String(error);
  return new Failed('editor.bug', message, { title: 'Show the Log', command: 'para.ui.log' }).problem;
}

/** Collect what a person has set: VS Code's own answer would hide other layers behind defaults. */
function chosen(): Record<string, Record<string, unknown>> {
  const settings = vscode.workspace.getConfiguration('para');
  const found: Record<string, Record<string, unknown>> = {};
  for (const key of SETTINGS) {
    const told = settings.inspect(key);
    const ofFolder = vscode.workspace.isTrusted ? told?.workspaceValue : undefined;
    const value = ofFolder ?? told?.globalValue;
    const [section = '', name = ''] = key.split('.');
    if (value !== undefined) found[section] = { ...found[section], [name]: value };
  }
  return found;
}
