// The only place that talks to the server: starts it, asks it, and offers what it proposes.
import * as vscode from 'vscode';
import * as lsp from 'vscode-languageclient/node';
import { SETTINGS, TITLES, type Command, type Commands, type SessionsChanged } from './generated/protocol';
import { Failed, findServer, type Offer, type Trouble } from './server';
import { notify, pick, plain, progress, remark, type Voice } from './shown';

const CRASHES = 3; // that are forgiven within
const FORGIVEN = 3 * 60_000; // milliseconds
const MORE = 'More…';
const RESTART = { title: 'Restart Server', command: 'para.ui.restart' };
const NEVER = new vscode.CancellationTokenSource().token;
const LOG = { title: 'Show the Log', command: 'para.ui.log' };
const STARTING = 'it is starting';
const NOTHING = { sessions: [], running: 0, limit: 0, attention: [] };
// what a person is asked or shown more for than the command itself
const SHOWN: Readonly<Record<string, string>> = {
  ...{ 'para.list': 'para.sessions.focus', 'para.show': 'para.sessions.focus', 'para.open': 'para.ui.attach' },
  ...Object.fromEntries(['doctor', 'diff', 'logs', 'finish', 'auth.setup'].map((verb) => [`para.${verb}`, `para.ui.${verb}`])),
};
type Progress = { message?: string; percentage?: number };

/** The connection to the server; `trouble` says why there is none. */
export class Para implements vscode.Disposable {
  trouble: string | undefined = STARTING;
  private client: lsp.LanguageClient | undefined;
  private starting: Promise<void> | undefined;
  private tokens = 0;
  private readonly changed = new vscode.EventEmitter<SessionsChanged>();
  /** Fires with what there is to show: what the server tells of the sessions, or that it is gone. */
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

  /** Run a command; raises Failed where there is no server, else what the server answers. */
  async ask<C extends Command>(command: C, params: Commands[C][0], token = NEVER, tell?: (said: Progress) => void): Promise<Commands[C][1]> {
    await this.starting?.catch(() => undefined);
    const client = this.client;
    if (client?.state !== lsp.State.Running) throw this.down();
    const workDoneToken = `editor-${++this.tokens}`;
    const heard = tell && client.onProgress(lsp.WorkDoneProgress.type, workDoneToken, tell);
    try {
      const asked = { command, arguments: [params], ...(tell && { workDoneToken }) };
      return await client.sendRequest<Commands[C][1]>('workspace/executeCommand', asked, token);
    } catch (error) {
      throw client.state === lsp.State.Running ? error : this.down();
    } finally {
      heard?.dispose();
    }
  }

  /** Run a command that takes a while, with its progress and a way to stop it. */
  async run<C extends Command>(command: C, params: Commands[C][0], of = ''): Promise<Commands[C][1]> {
    const title = `${TITLES[command]} ${of}`.trim();
    return progress(title, (tell, token) => {
      let reached = 0;
      return this.ask(command, params, token, ({ message, percentage = reached }) => {
        tell({ increment: percentage - reached, ...(message && { message }) });
        reached = percentage;
      });
    });
  }

  /** Do something for a person: what goes wrong is shown, with its remedies as buttons. */
  async attempt(work: () => unknown): Promise<void> {
    try {
      await work();
    } catch (error) {
      if (error instanceof lsp.ResponseError && error.code === lsp.LSPErrorCodes.RequestCancelled) {
        remark('circle-slash', 'Cancelled: nothing is left of it');
      } else if (!(error instanceof vscode.CancellationError)) void this.show(troubleOf(error), work);
    }
  }

  /** Show what is wrong, and offer what failed once more when a remedy is through. */
  async show({ slug, message, remedies }: Trouble, again?: () => unknown): Promise<void> {
    this.log.error(plain(`${slug}: ${message}`));
    const can = ({ command, setting, url }: Offer) => Boolean(command ?? setting ?? url);
    const advice = remedies.filter((remedy) => !can(remedy)).map(({ title }) => title);
    await this.offer('error', [message, ...advice].join('. '), remedies.filter(can), again);
  }

  /** Offer what can be done as buttons, and carry out the one that is chosen. */
  async offer(voice: Voice, message: string, offers: readonly Offer[], again?: () => unknown): Promise<void> {
    const titles = offers.map(({ title }) => title);
    const buttons = titles.length > 3 ? [...titles.slice(0, 2), MORE] : titles; // as many as fit
    let chosen = await notify(voice, message, ...buttons);
    if (chosen === MORE) chosen = (await pick(message, titles.map((label) => ({ label, value: label }))))?.value;
    const taken = offers.find(({ title }) => title === chosen);
    if (!taken) return;
    await this.attempt(async () => {
      if (!(await this.carryOut(taken))) return;
      if ((await notify('info', `${taken.title}: done`, ...(again ? ['Try Again'] : []))) && again) await this.attempt(again);
    });
  }

  dispose(): void {
    void this.client?.dispose(); // stops the server first
  }

  /** Carry out a remedy; tells whether something is different now. */
  private async carryOut({ command, params, setting, url }: Offer): Promise<boolean> {
    const { executeCommand } = vscode.commands;
    if (setting) await executeCommand('workbench.action.openSettings', `para.${setting}`);
    else if (url?.startsWith('https://')) await vscode.env.openExternal(vscode.Uri.parse(url));
    else if (command && command in TITLES && !(command in SHOWN)) {
      await this.run(command as Command, (params ?? {}) as Commands[Command][0]);
      return true;
    } else if (command?.startsWith('para.')) await executeCommand(SHOWN[command] ?? command, params);
    return false;
  }

  private async begin(): Promise<void> {
    await this.client?.dispose().catch(() => undefined);
    this.client = undefined;
    this.lost(STARTING);
    try {
      const command = await findServer(this.context);
      this.log.info(`starting ${command}`);
      const client = new lsp.LanguageClient('para', 'Para', { command, args: ['--stdio'] }, this.options());
      client.onNotification('para/sessionsChanged', (change: SessionsChanged) => this.changed.fire(change));
      client.onDidChangeState(({ newState }) => {
        if (newState === lsp.State.Running) this.trouble = undefined;
        else this.lost(this.trouble ?? STARTING);
      });
      this.client = client;
      await client.start();
    } catch (error) {
      this.lost(troubleOf(error).message);
      throw error;
    }
  }

  private options(): lsp.LanguageClientOptions {
    let crashes: number[] = [];
    const error = () => ({ action: lsp.ErrorAction.Continue, handled: true });
    const closed = () => {
      crashes = [...crashes, Date.now()].filter((at) => Date.now() - at < FORGIVEN);
      if (crashes.length <= CRASHES) return { action: lsp.CloseAction.Restart, handled: true };
      this.lost(`it has ended ${CRASHES + 1} times within ${FORGIVEN / 60_000} minutes`);
      void this.show(this.down());
      return { action: lsp.CloseAction.DoNotRestart, handled: true };
    };
    const initializationOptions = { notifications: true, callOnce: true, trusted: vscode.workspace.isTrusted };
    const shared = { outputChannel: this.log, initializationFailedHandler: () => false };
    const workspace: lsp.Middleware['workspace'] = {
      configuration: ({ items }) =>
        items.map(({ section, scopeUri }) => (section === 'para' ? chosenSettings(scopeUri) : null)),
      // the server then asks for what it needs
      didChangeConfiguration: async () => this.client?.sendNotification('workspace/didChangeConfiguration', { settings: null }),
    };
    return { ...shared, initializationOptions, errorHandler: { error, closed }, middleware: { workspace } };
  }

  private lost(trouble: string): void {
    this.trouble = trouble;
    const [text, severity] = trouble === STARTING ? ['Para', 'ok' as const] : ['Para: no server', 'error' as const];
    this.changed.fire({ ...NOTHING, statusBar: { text, tooltip: `The server does not run: ${trouble}`, severity } });
  }

  private down(): Failed {
    const why = this.trouble ?? 'it has ended';
    return new Failed('editor.server-down', `The server of Para does not run: ${why}`, [RESTART, LOG]);
  }
}

/** Read what an error tells; the server's own is a Problem. */
function troubleOf(error: unknown): Trouble {
  if (error instanceof Failed) return error;
  const told: unknown = error instanceof lsp.ResponseError ? error.data : undefined;
  if (typeof told === 'object' && told !== null && 'slug' in told) return told as Trouble;
  return new Failed('editor.bug', error instanceof Error ? error.message : String(error), [LOG]);
}

/** Collect what a person has set: VS Code's own answer would hide other layers behind defaults. */
function chosenSettings(folder?: string): Record<string, unknown> {
  const settings = vscode.workspace.getConfiguration('para', folder === undefined ? undefined : vscode.Uri.parse(folder));
  const chosen = SETTINGS.map((key) => {
    const told = settings.inspect(key);
    const local = told?.workspaceFolderValue ?? told?.workspaceValue;
    return [key, (vscode.workspace.isTrusted ? local : undefined) ?? told?.globalValue];
  });
  return Object.fromEntries(chosen.filter(([, value]) => value !== undefined));
}
