// The only place that knows what people do by name: each command asks for what it needs, and calls.
import * as vscode from 'vscode';
import type { Para, Work } from './client';
import { ACTIONS } from './generated/protocol';
import type { Session, StartParams, Terminal, Verb } from './generated/protocol';
import type { Review } from './review';
import { Failed } from './server';
import { age, applies, iconOf, named, stateOf } from './sessions';
import type { Sessions } from './sessions';

const { window, workspace } = vscode;
const { executeCommand } = vscode.commands;
const NOTHING = 'editor.nothing-chosen';
const ATTACHES = 'onResolveRemoteAuthority:attached-container';
const DEV_CONTAINERS = '@id:ms-vscode-remote.remote-containers';
type Choice<T> = vscode.QuickPickItem & { value: T };
/** As much of VS Code's own git extension as is asked of it. */
type Git = { getAPI(version: 1): { getRepository(uri: vscode.Uri): Repository | null } };
interface Repository {
  getBranches(query: { remote: boolean }): Promise<readonly { name?: string }[]>;
  checkout(branch: string): Promise<void>;
}

/** Register every command; each is there whether the server runs or not. */
export function register(para: Para, sessions: Sessions, review: Review): vscode.Disposable[] {
  async function dispatch(task: { prompt?: string; promptFile?: string }): Promise<void> {
    const { name } = await para.run('para.dispatch', { ...task, ...(await where()) });
    window.setStatusBarMessage(`$(check) ${name} is at work`, 5000);
  }

  async function where(): Promise<StartParams> {
    await para.ask('para.list', {}); // who cannot be served is not asked for more
    const folders = workspace.workspaceFolders ?? [];
    const folder = folders.length > 1 ? ((await window.showWorkspaceFolderPick()) ?? stop()) : folders[0];
    if (!folder) return {}; // the server says what is missing
    const repo = folder.uri.fsPath;
    const branches = await repository(folder.uri)?.getBranches({ remote: false });
    const names = (branches ?? []).flatMap(({ name }) => name ?? []);
    if (!names.length) return { repo };
    const items = [{ label: 'HEAD', description: 'what is checked out' }, ...names.map((label) => ({ label }))];
    return { repo, base: ((await window.showQuickPick(items, { title: 'Start From' })) ?? stop()).label };
  }

  async function pick(verb: Verb | '', given: unknown): Promise<Session> {
    await para.ask('para.list', {}); // says so where nobody answers
    const all = [...sessions.live, ...sessions.over];
    const { name, repo } = (given ?? {}) as Partial<Session>;
    const meant = name && all.find((session) => session.name === name && session.repo === repo);
    if (meant) return meant;
    const able = all.filter((session) => applies(verb, session));
    if (able.length === 1 && able[0]) return able[0];
    if (!able.length) throw new Failed(NOTHING, `There is no session to ${verb || 'look at'}`);
    const chosen = await window.showQuickPick(able.map(choice), { title: 'Which session?', matchOnDetail: true });
    return (chosen ?? stop()).value;
  }

  async function reviewed(session: Session): Promise<void> {
    if (!(await review.show(session))) {
      return void window.showInformationMessage(`${session.name} has changed nothing yet`);
    }
    const able: [string, () => Promise<unknown>][] = [];
    if (applies('finish', session)) able.push(['Finish…', () => finish(session)]);
    if (session.state === 'finished') able.push(['Check Out', () => checkOut(session)]);
    if (session.type === 'container') able.push(['Ask for Changes…', () => askForChanges(session)]);
    const chosen = await window.showInformationMessage(`Reviewing ${session.name}`, ...able.map(([title]) => title));
    await able.find(([title]) => title === chosen)?.[1]();
  }

  async function askForChanges(session: Session): Promise<void> {
    const text = await say(`Tell ${session.name}`, '', 'What is the agent to do?');
    if (applies('send', session)) await para.run('para.send', { ...named(session), text }, session.name);
    else await para.run('para.resume', { ...named(session), prompt: text }, session.name);
  }

  async function finish(session: Session): Promise<void> {
    const usual = session.prompt.split('\n')[0]?.slice(0, 72) || `Work of ${session.name}`;
    const message = await say(`Finish ${session.name}`, usual, 'The message of the commit of what is uncommitted');
    const done = await para.run('para.finish', { ...named(session), message }, session.name);
    const told = `The branch ${done.branch} is there: ${done.files} files, +${done.insertions} −${done.deletions}`;
    const runs = done.autoRunFiles.length && `. These run by themselves when opened or built: ${done.autoRunFiles.join(', ')}`;
    const show = runs ? window.showWarningMessage : window.showInformationMessage;
    const chosen = await show(`${told}${runs || ''}`, 'Review Changes', 'Check Out');
    if (chosen) await (chosen === 'Check Out' ? checkOut : reviewed)(done.session);
  }

  async function open(session: Session): Promise<void> {
    const { uri, terminal } = await para.ask('para.open', named(session));
    const target = vscode.Uri.parse(uri, true);
    if (target.scheme === 'file' || attachers().length) {
      return executeCommand('vscode.openFolder', target, { forceNewWindow: true });
    }
    attach(session, terminal);
    await review.show(session);
    const told = 'This editor cannot open a container as a folder; here are a terminal in it and its changes';
    const chosen = await window.showInformationMessage(told, 'Install Dev Containers');
    if (chosen) await executeCommand('workbench.extensions.search', DEV_CONTAINERS);
  }

  async function checkSetup(): Promise<void> {
    const { checks } = await para.run('para.doctor', {});
    const icon = (ok: boolean) => (ok ? '$(pass)' : '$(error)');
    const items = checks.map(({ name, ok, detail, problem }) => ({ label: `${icon(ok)} ${name}`, description: detail, problem }));
    const placeHolder = checks.every(({ ok }) => ok) ? 'All is well' : 'Choose what is wrong to see what helps';
    const chosen = await window.showQuickPick(items, { title: 'Check Setup', placeHolder });
    if (chosen?.problem) await para.show(chosen.problem);
  }

  async function showSessions(): Promise<void> {
    if (para.trouble) await para.ask('para.list', {});
    const items: Choice<Session | string>[] = [
      ...sessions.live.map(choice),
      { label: '$(add) Dispatch Agent…', value: 'para.ui.dispatch' },
      { label: '$(account) Start Session for Yourself', value: 'para.ui.start' },
      { label: '$(list-tree) Show the View', value: 'para.sessions.focus' },
      { label: '$(checklist) Check Setup', value: 'para.ui.doctor' },
    ];
    const value = (await window.showQuickPick(items, { title: 'Para', matchOnDetail: true }))?.value ?? stop();
    if (typeof value === 'string') return executeCommand(value);
    const able = ACTIONS.filter(([, , verb]) => applies(verb, value));
    const choices = able.map(([command, label]) => ({ label, command }));
    const chosen = await window.showQuickPick(choices, { title: value.name, placeHolder: value.prompt });
    if (chosen) await executeCommand(chosen.command, value);
  }

  const on = (verb: Verb | '', work: (session: Session) => Promise<unknown>) => async (given: unknown) =>
    work(await pick(verb, given));
  const plain = (verb: 'pause' | 'resume' | 'recover') =>
    on(verb, (session) => para.run(`para.${verb}`, named(session), session.name));
  const commands: Record<string, (given: unknown) => ReturnType<Work>> = {
    dispatch: async () => dispatch({ prompt: await say('Dispatch Agent', '', 'What is to be done?') }),
    dispatchSelection: () => dispatch({ prompt: selection() }),
    dispatchFile: () => dispatch(openFile()),
    start: async () => para.run('para.start', await where()),
    ...{ pause: plain('pause'), resume: plain('resume'), recover: plain('recover') },
    finish: on('finish', finish),
    cancel: on('cancel', async (session) => {
      const { archive } = await para.run('para.cancel', named(session), session.name);
      const kept = archive ? 'its work is kept, and Recover Session brings it back' : 'it had changed nothing';
      void window.showInformationMessage(`${session.name} is cancelled: ${kept}`);
    }),
    send: on('send', askForChanges),
    open: on('open', open),
    attach: on('open', async (session) => attach(session, (await para.ask('para.open', named(session))).terminal)),
    diff: on('', reviewed),
    logs: on('', (session) => review.log(session)),
    'image.build': async () => {
      const { image, size, seconds } = await para.run('para.image.build', {});
      void window.showInformationMessage(`${image} is built: ${size >> 20} MiB in ${seconds} s`);
    },
    'auth.setup': async () => {
      attach({ name: 'Log In' }, (await para.run('para.auth.setup', {})).terminal);
      const asked = 'Log in in the terminal, then let the login be kept';
      if (!(await window.showInformationMessage(asked, 'Complete Login'))) return;
      const { image } = await para.run('para.auth.complete', {});
      void window.showInformationMessage(`The login is kept${image ? ` in ${image}` : ''}`);
    },
    doctor: checkSetup,
    sessions: showSessions,
    refresh: () => sessions.refresh(),
    restart: () => para.start(),
    log: () => para.log.show(),
  };
  return Object.entries(commands).map(([name, run]) =>
    vscode.commands.registerCommand(`para.ui.${name}`, (given: unknown) => para.attempt(() => run(given))),
  );
}

function stop(): never {
  throw new vscode.CancellationError();
}

async function say(title: string, value: string, prompt: string): Promise<string> {
  return (await window.showInputBox({ title, value, prompt, ignoreFocusOut: true }))?.trim() || stop();
}

function choice(session: Session): Choice<Session> {
  const description = `${stateOf(session)} · ${session.branch} · ${age(session.createdAt)}`;
  const label = `$(${iconOf(session).id}) ${session.name}`;
  return { label, description, detail: session.prompt.slice(0, 200), value: session };
}

function attach({ name }: Pick<Session, 'name'>, { command, args }: Terminal): void {
  window.createTerminal({ name, shellPath: command, shellArgs: [...args] }).show();
}

function attachers(): vscode.Extension<unknown>[] {
  const events = (described: unknown) => (described as { activationEvents?: string[] }).activationEvents;
  return vscode.extensions.all.filter(({ packageJSON }) => events(packageJSON)?.includes(ATTACHES));
}

function selection(): string {
  const editor = window.activeTextEditor;
  const text = editor?.document.getText(editor.selection).trim();
  if (!text) throw new Failed(NOTHING, 'Select the text that says what is to be done');
  return text;
}

function openFile(): { prompt: string } | { promptFile: string } {
  const document = window.activeTextEditor?.document;
  if (!document) throw new Failed(NOTHING, 'Open the file that says what is to be done');
  const saved = document.uri.scheme === 'file' && !document.isDirty;
  return saved ? { promptFile: document.uri.fsPath } : { prompt: document.getText() };
}

function repository(folder: vscode.Uri): Repository | null {
  const git = vscode.extensions.getExtension<Git>('vscode.git');
  return git?.isActive ? git.exports.getAPI(1).getRepository(folder) : null;
}

async function checkOut({ repo, branch }: Session): Promise<void> {
  const found = repository(vscode.Uri.file(repo));
  if (!found) throw new Failed(NOTHING, `Open ${repo} to check ${branch} out`);
  await found.checkout(branch);
}
