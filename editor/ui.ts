// The only place that knows what people do by name: each command asks for what it needs, and calls.
import * as vscode from 'vscode';
import type { Para } from './client';
import type { Session, StartParams, Terminal, Verb } from './generated/protocol';
import type { Review } from './review';
import { age, applies, iconOf, named } from './sessions';
import type { Sessions } from './sessions';

const ATTACHES = 'onResolveRemoteAuthority:attached-container';
const DEV_CONTAINERS = 'ms-vscode-remote.remote-containers';
const NOBODY: readonly never[] = [];
type Choice<T> = vscode.QuickPickItem & { value: T };
/** As much of VS Code's own git extension as is asked of it. */
interface Git {
  getAPI(version: 1): { getRepository(uri: vscode.Uri): Repository | null };
}
interface Repository {
  getBranches(query: { remote: boolean }): Promise<readonly { name?: string }[]>;
  checkout(branch: string): Promise<void>;
}

/** Register every command; each is there whether the server runs or not. */
export function register(para: Para, sessions: Sessions, review: Review): vscode.Disposable[] {
  const { window } = vscode;

  async function dispatch(task: { prompt?: string; promptFile?: string }): Promise<void> {
    const place = await where();
    const { name } = await para.run('para.dispatch', { ...task, ...place });
    window.setStatusBarMessage(`$(check) ${name} is at work`, 5000);
  }

  async function where(): Promise<StartParams> {
    await para.ask('para.list', {}); // who cannot be served is not asked for more
    const several = (vscode.workspace.workspaceFolders?.length ?? 0) > 1;
    const folder = several ? await window.showWorkspaceFolderPick() : vscode.workspace.workspaceFolders?.[0];
    if (!folder) return several ? stop() : {};
    const branches = (await repository(folder.uri)?.getBranches({ remote: false }).catch(() => NOBODY)) ?? NOBODY;
    const names = branches.flatMap(({ name }) => name ?? []);
    const repo = folder.uri.fsPath;
    if (!names.length) return { repo };
    const items = [{ label: 'HEAD', description: 'what is checked out' }, ...names.map((label) => ({ label }))];
    const base = await window.showQuickPick(items, { title: 'Start From', placeHolder: 'The branch to start from' });
    return { repo, base: (base ?? stop()).label };
  }

  async function pick(verb: Verb | 'any', given: unknown): Promise<Session> {
    if (isSession(given)) return given;
    await para.ask('para.list', {}); // says so where nobody answers
    const all = [...sessions.live, ...sessions.over];
    const able = all.filter((session) => verb === 'any' || applies(verb, session));
    const [only] = able;
    if (!only) {
      void window.showInformationMessage(verb === 'any' ? 'There are no sessions' : `There is no session to ${verb}`);
      return stop();
    }
    if (able.length === 1) return only;
    const chosen = await window.showQuickPick(able.map(choice), { title: 'Which session?', matchOnDetail: true });
    return (chosen ?? stop()).value;
  }

  async function say(title: string, value: string, prompt: string): Promise<string> {
    const told = await window.showInputBox({ title, value, prompt, ignoreFocusOut: true });
    return told?.trim() || stop();
  }

  async function reviewed(session: Session): Promise<void> {
    if (!(await review.show(session))) {
      void window.showInformationMessage(`${session.name} has changed nothing yet`);
      return;
    }
    const actions = new Map<string, () => Promise<unknown>>();
    if (applies('finish', session)) actions.set('Finish…', () => finish(session));
    if (session.state === 'finished') actions.set('Check Out', () => checkOut(session));
    if (session.type === 'container') actions.set('Ask for Changes…', () => askForChanges(session));
    const chosen = await window.showInformationMessage(`Reviewing ${session.name}`, ...actions.keys());
    await actions.get(chosen ?? '')?.();
  }

  async function askForChanges(session: Session): Promise<void> {
    const prompt = await say(`Ask ${session.name} for Changes`, '', 'What is to be done?');
    if (applies('resume', session)) await para.run('para.resume', { ...named(session), prompt }, session.name);
    else {
      await para.run('para.pause', { ...named(session), mode: 'freeze' }, session.name);
      await para.run('para.resume', { ...named(session), prompt }, session.name);
    }
  }

  async function finish(session: Session): Promise<void> {
    const usual = session.prompt.split('\n')[0]?.slice(0, 72) || `Work of ${session.name}`;
    const message = await say(`Finish ${session.name}`, usual, 'The message of the commit of what is uncommitted');
    const done = await para.run('para.finish', { ...named(session), message }, session.name);
    const counted = `${done.files} files, +${done.insertions} −${done.deletions}`;
    const runs = done.autoRunFiles.length ? ` These run by themselves when opened: ${done.autoRunFiles.join(', ')}.` : '';
    const show = runs ? window.showWarningMessage : window.showInformationMessage;
    const chosen = await show(`The branch ${done.branch} is there: ${counted}.${runs}`, 'Review Changes', 'Check Out');
    if (chosen === 'Check Out') await checkOut(done.session);
    else if (chosen) await reviewed(done.session);
  }

  async function open(session: Session): Promise<void> {
    const { uri, terminal } = await para.ask('para.open', named(session));
    const target = vscode.Uri.parse(uri, true);
    const able = vscode.extensions.all.some(({ packageJSON }) => attaches(packageJSON));
    if (target.scheme === 'file' || able) {
      await vscode.commands.executeCommand('vscode.openFolder', target, { forceNewWindow: true });
      return;
    }
    attach(session, terminal);
    await review.show(session);
    const install = 'Install Dev Containers';
    const told = 'This editor cannot open a container as a folder; here are a terminal in it and its changes.';
    const chosen = await window.showInformationMessage(told, install);
    if (chosen) await vscode.commands.executeCommand('workbench.extensions.search', `@id:${DEV_CONTAINERS}`);
  }

  async function checkSetup(): Promise<void> {
    const { checks } = await para.run('para.doctor', {});
    const items = checks.map(({ name, ok, detail, problem }) => ({
      label: `$(${ok ? 'pass' : 'error'}) ${name}`,
      description: detail,
      value: problem,
    }));
    const wrong = checks.filter(({ ok }) => !ok).length;
    const placeHolder = wrong ? 'Choose what is wrong to see what helps' : 'All is well';
    const chosen = await window.showQuickPick(items, { title: 'Check Setup', placeHolder });
    if (chosen?.value) await para.show(chosen.value);
  }

  async function showSessions(): Promise<void> {
    if (!para.connected) await para.ask('para.list', {});
    const other = (label: string, value: string): Choice<Session | string> => ({ label, value });
    const items: Choice<Session | string>[] = [
      ...sessions.live.map(choice),
      other('$(add) Dispatch Agent…', 'para.ui.dispatch'),
      other('$(account) Start Session for Yourself', 'para.ui.start'),
      other('$(list-tree) Show the View', 'para.sessions.focus'),
      other('$(checklist) Check Setup', 'para.ui.doctor'),
    ];
    const chosen = await window.showQuickPick(items, { title: 'Para', matchOnDetail: true });
    if (typeof chosen?.value === 'string') await vscode.commands.executeCommand(chosen.value);
    else if (chosen) await act(chosen.value);
  }

  async function act(session: Session): Promise<void> {
    const items = ACTIONS.filter(([, , verb]) => verb === 'any' || applies(verb, session));
    const choices = items.map(([label, command]) => ({ label, value: command }));
    const chosen = await window.showQuickPick(choices, { title: session.name, placeHolder: session.prompt });
    if (chosen) await vscode.commands.executeCommand(`para.ui.${chosen.value}`, session);
  }

  const on = (verb: Verb | 'any', work: (session: Session) => Promise<unknown>) =>
    async (given: unknown) => work(await pick(verb, given));
  const commands: Record<string, (given: unknown) => Promise<unknown>> = {
    dispatch: async () => dispatch({ prompt: await say('Dispatch Agent', '', 'What is to be done?') }),
    dispatchSelection: async () => dispatch({ prompt: selection() }),
    dispatchFile: async () => dispatch(openFile()),
    start: async () => para.run('para.start', await where()),
    pause: on('pause', (session) => para.run('para.pause', named(session), session.name)),
    resume: on('resume', (session) => para.run('para.resume', named(session), session.name)),
    finish: on('finish', finish),
    cancel: on('cancel', async (session) => {
      const { archive } = await para.run('para.cancel', named(session), session.name);
      const kept = archive ? 'its work is kept, and Recover Session brings it back' : 'it had changed nothing';
      void window.showInformationMessage(`${session.name} is cancelled: ${kept}`);
    }),
    recover: on('recover', (session) => para.run('para.recover', named(session), session.name)),
    open: on('open', open),
    attach: on('open', async (session) => attach(session, (await para.ask('para.open', named(session))).terminal)),
    diff: on('any', reviewed),
    logs: on('any', (session) => review.log(session)),
    'image.build': async () => {
      const { image, size, seconds } = await para.run('para.image.build', {});
      void window.showInformationMessage(`${image} is built: ${size >> 20} MiB in ${seconds} s`);
    },
    doctor: checkSetup,
    clean: async () => {
      const { removed } = await para.run('para.clean', {});
      void window.showInformationMessage(removed.length ? `Removed: ${removed.join(', ')}` : 'Nothing was left over');
    },
    sessions: showSessions,
    refresh: () => sessions.refresh(),
    restart: () => para.start(),
    log: async () => para.log.show(),
  };
  return Object.entries(commands).map(([name, run]) =>
    vscode.commands.registerCommand(`para.ui.${name}`, (given: unknown) => para.attempt(() => quietly(() => run(given)))),
  );
}

const ACTIONS: readonly (readonly [label: string, command: string, verb: Verb | 'any'])[] = [
  ['$(diff-multiple) Review Changes', 'diff', 'any'],
  ['$(window) Open', 'open', 'open'],
  ['$(terminal) Attach Terminal', 'attach', 'open'],
  ['$(output) Show Logs', 'logs', 'any'],
  ['$(debug-pause) Pause', 'pause', 'pause'],
  ['$(debug-continue) Resume', 'resume', 'resume'],
  ['$(check) Finish…', 'finish', 'finish'],
  ['$(trash) Cancel', 'cancel', 'cancel'],
];

/** A person has changed their mind, which is nothing to tell them of. */
class Stopped extends Error {}

function stop(): never {
  throw new Stopped();
}

async function quietly(work: () => Promise<unknown>): Promise<void> {
  try {
    await work();
  } catch (error) {
    if (!(error instanceof Stopped)) throw error;
  }
}

function choice(session: Session): Choice<Session> {
  const icon = iconOf(session).id;
  const description = `${session.agent?.state ?? session.state} · ${session.branch} · ${age(session.createdAt)}`;
  return { label: `$(${icon}) ${session.name}`, description, detail: session.prompt.slice(0, 200), value: session };
}

function isSession(given: unknown): given is Session {
  return typeof given === 'object' && given !== null && 'id' in given && 'repo' in given && 'branch' in given;
}

function attach({ name }: Session, { command, args }: Terminal): void {
  vscode.window.createTerminal({ name, shellPath: command, shellArgs: [...args], iconPath: new vscode.ThemeIcon('layers') }).show();
}

function attaches(described: unknown): boolean {
  const { activationEvents } = described as { activationEvents?: unknown };
  return Array.isArray(activationEvents) && activationEvents.includes(ATTACHES);
}

function selection(): string {
  const editor = vscode.window.activeTextEditor;
  const text = editor?.document.getText(editor.selection).trim();
  if (text) return text;
  void vscode.window.showInformationMessage('Select the text that says what is to be done');
  return stop();
}

function openFile(): { prompt: string } | { promptFile: string } {
  const document = vscode.window.activeTextEditor?.document;
  if (!document) {
    void vscode.window.showInformationMessage('Open the file that says what is to be done');
    return stop();
  }
  const saved = document.uri.scheme === 'file' && !document.isDirty;
  return saved ? { promptFile: document.uri.fsPath } : { prompt: document.getText() };
}

function repository(folder: vscode.Uri): Repository | null {
  const git = vscode.extensions.getExtension<Git>('vscode.git');
  return git?.isActive ? git.exports.getAPI(1).getRepository(folder) : null;
}

async function checkOut({ repo, branch }: Session): Promise<void> {
  const found = repository(vscode.Uri.file(repo));
  if (!found) throw new Error(`Open ${repo} to check ${branch} out`);
  await found.checkout(branch);
}
