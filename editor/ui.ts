// The only place that knows what people do by name: each command asks for what it needs, and calls.
import { realpath } from 'node:fs/promises';
import * as vscode from 'vscode';
import type { Para } from './client';
import { ACTIONS, ENTRIES, type Session, type StartParams, type Terminal, type Verb } from './generated/protocol';
import type { Review } from './review';
import { Failed, type Offer } from './server';
import { age, applies, iconOf, named, stateOf, type Sessions } from './sessions';
import { input, notify, pick as choiceOf, plain, remark, type Choice } from './shown';

const { window, workspace } = vscode;
const { executeCommand } = vscode.commands;
const NOTHING = 'editor.nothing-chosen';
const ATTACHES = 'onResolveRemoteAuthority:attached-container';
const DEV_CONTAINERS = '@id:ms-vscode-remote.remote-containers';
/** As much of VS Code's own git extension as is asked of it. */
type Repository = { rootUri: vscode.Uri; checkout(branch: string): Promise<void> };
type Git = { getAPI(version: 1): { repositories: Repository[]; openRepository(root: vscode.Uri): Promise<Repository | null> } };

/** Register every command; each is there whether the server runs or not. */
export function register(para: Para, sessions: Sessions, review: Review): vscode.Disposable[] {
  async function dispatch(prompt: string): Promise<void> {
    const { name } = await para.run('para.dispatch', { prompt, ...(await where()) });
    remark('check', `${name} is at work`);
  }

  async function where(): Promise<StartParams> {
    await para.ask('para.list', {}); // who cannot be served is not asked for more
    const folders = workspace.workspaceFolders ?? [];
    const folder = folders.length > 1 ? ((await window.showWorkspaceFolderPick()) ?? stop()) : folders[0];
    if (!folder) return {}; // the server says what is missing
    const repo = folder.uri.fsPath;
    const { branches } = await para.ask('para.branches', { repo });
    const head = { label: 'HEAD', description: 'what is checked out', value: 'HEAD' };
    return { repo, base: await choose('Start From', [head, ...branches.map((value) => ({ label: value, value }))]) };
  }

  async function pick(verb: Verb | '', given: unknown): Promise<Session> {
    const { name, repo } = (given ?? {}) as Partial<Session>;
    if (name && repo) return para.ask('para.show', { name, repo });
    const { sessions: all } = await para.ask('para.list', { all: true });
    const able = all.filter((session) => applies(verb, session));
    if (able.length === 1 && able[0]) return able[0];
    if (!able.length) throw new Failed(NOTHING, `There is no session to ${verb || 'look at'}`);
    return choose('Which session?', able.map(choice));
  }

  async function reviewed(session: Session): Promise<unknown> {
    const omitted = await review.show(session);
    if (!omitted) return notify('info', `${session.name} has changed nothing yet`);
    const next: Offer[] = [];
    if (applies('finish', session)) next.push(offer('Finish…', 'finish', session));
    if (session.state === 'finished') next.push(offer('Check Out', 'checkOut', session));
    if (session.type === 'container') next.push(offer('Ask for Changes…', 'send', session));
    return para.offer(omitted.length ? 'warning' : 'info', [`Reviewing ${session.name}`, ...omitted].join('. '), next);
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
    const left = done.left.length ? [`Beside it: ${done.left.map(({ what, detail }) => `${what} (${detail})`).slice(0, 3).join(', ')}`] : [];
    const count = done.autoRunFiles.length;
    const runs = count ? [`These ${count} run by themselves when opened or built: ${done.autoRunFiles.join(', ')}`] : [];
    const next = [offer('Review Changes', 'diff', session), offer('Check Out', 'checkOut', session)];
    // what may be long comes last: the end is cut
    const voice = count || done.omitted.length ? 'warning' : 'info';
    await para.offer(voice, [told, ...done.omitted, ...left, ...runs].join('. '), next);
  }

  async function open(session: Session): Promise<unknown> {
    const { uri, terminal } = await para.ask('para.open', named(session));
    const target = vscode.Uri.parse(uri, true);
    if (target.scheme === 'file' || canAttach()) return executeCommand('vscode.openFolder', target, { forceNewWindow: true });
    attach(session.name, terminal);
    await review.show(session);
    const told = 'This editor cannot open a container as a folder; here are a terminal in it and its changes';
    const chosen = await notify('info', told, 'Install Dev Containers');
    return chosen && executeCommand('workbench.extensions.search', DEV_CONTAINERS);
  }

  async function checkSetup(): Promise<void> {
    const { checks } = await para.run('para.doctor', {});
    const items = checks.map(({ name, ok, detail, problem }) => {
      return { label: name, iconPath: new vscode.ThemeIcon(ok ? 'pass' : 'error'), description: detail, value: problem };
    });
    const placeHolder = checks.every(({ ok }) => ok) ? 'All is well' : 'Choose what is wrong to see what helps';
    const problem = await choose('Check Setup', items, placeHolder);
    if (problem) await para.show(problem);
  }

  async function showSessions(): Promise<void> {
    const { sessions: live } = await para.ask('para.list', {});
    const entries = ENTRIES.map(([value, label]) => ({ label, value }));
    const value = await choose<Session | string>('Para', [...live.map(choice), ...entries]);
    if (typeof value === 'string') return executeCommand(value);
    const able = ACTIONS.filter(([, , verb]) => applies(verb, value));
    const choices = able.map(([command, label]) => ({ label, value: command }));
    await executeCommand(await choose(value.name, choices, value.prompt), value);
  }

  const on = (verb: Verb | '', work: (session: Session) => Promise<unknown>) => async (given: unknown) =>
    work(await pick(verb, given));
  const plain = (verb: 'pause' | 'resume' | 'recover') =>
    on(verb, (session) => para.run(`para.${verb}`, named(session), session.name));
  const commands: Record<string, (given: unknown) => unknown> = {
    dispatch: async () => dispatch(await say('Dispatch Agent', '', 'What is to be done?')),
    dispatchSelection: () => dispatch(written(true)),
    dispatchFile: () => dispatch(written(false)),
    start: async () => para.run('para.start', await where()),
    ...{ pause: plain('pause'), resume: plain('resume'), recover: plain('recover') },
    finish: on('finish', finish),
    cancel: on('cancel', async (session) => {
      const { archive } = await para.run('para.cancel', named(session), session.name);
      const kept = archive ? 'its work is kept, and Recover Session brings it back' : 'it had changed nothing';
      void notify('info', `${session.name} is cancelled: ${kept}`);
    }),
    send: on('send', askForChanges),
    open: on('open', open),
    attach: on('open', async (session) => attach(session.name, (await para.ask('para.open', named(session))).terminal)),
    diff: on('', reviewed),
    checkOut: on('', checkOut),
    logs: on('', (session) => review.log(session)),
    'image.build': async () => {
      const { image, size, seconds } = await para.run('para.image.build', {});
      void notify('info', `${image} is built: ${size >> 20} MiB in ${seconds} s`);
    },
    'auth.setup': async () => {
      attach('Log In', (await para.run('para.auth.setup', {})).terminal);
      const complete = { title: 'Complete Login', command: 'para.auth.complete' };
      await para.offer('info', 'Log in in the terminal, then let the login be kept', [complete]);
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

function offer(title: string, name: string, session: Session): Offer {
  return { title, command: `para.ui.${name}`, params: named(session) };
}

async function choose<T>(title: string, items: readonly Choice<T>[], placeHolder = ''): Promise<T> {
  return ((await choiceOf(title, items, placeHolder)) ?? stop()).value;
}

async function say(title: string, value: string, prompt: string): Promise<string> {
  return (await input(title, value, prompt))?.trim() || stop();
}

function choice(session: Session): Choice<Session> {
  const description = `${stateOf(session)} · ${session.branch} · ${age(session.createdAt)}`;
  return { label: session.name, iconPath: iconOf(session), description, detail: session.prompt.slice(0, 200), value: session };
}

function attach(name: string, { command, args }: Terminal): void {
  window.createTerminal({ name: plain(name), shellPath: command, shellArgs: [...args] }).show();
}

function canAttach(): boolean {
  const events = (described: unknown) => (described as { activationEvents?: string[] }).activationEvents;
  return vscode.extensions.all.some(({ packageJSON }) => events(packageJSON)?.includes(ATTACHES));
}

function written(selected: boolean): string {
  const editor = window.activeTextEditor;
  const text = editor?.document.getText(selected ? editor.selection : undefined).trim();
  if (!text) throw new Failed(NOTHING, `${selected ? 'Select the text' : 'Open the file'} that says what is to be done`);
  return text;
}

async function checkOut({ repo, branch }: Session): Promise<void> {
  const typed = `git -C '${repo.replaceAll("'", "'\\''")}' switch '${branch.replaceAll("'", "'\\''")}'`;
  const found = await repositoryOf(repo).catch(() => undefined); // its git may be turned off
  if (!found) throw new Failed(NOTHING, `VS Code's git has not opened ${repo}; type: ${typed}`);
  try {
    await found.checkout(branch);
  } catch (error) {
    const { stderr = '', message = '' } = error as { stderr?: string; message?: string };
    throw new Failed('editor.git', `Git did not check ${branch} out: ${stderr.trim() || message}`);
  }
  remark('check', `Checked out ${branch}`);
}

/** Find a repository in VS Code's git, which may have opened it by way of a link. */
async function repositoryOf(repo: string): Promise<Repository | undefined> {
  const git = (await vscode.extensions.getExtension<Git>('vscode.git')?.activate())?.getAPI(1);
  const real = (place: string) => realpath(place).catch(() => place);
  const wanted = await real(repo);
  for (const one of git?.repositories ?? []) if ((await real(one.rootUri.fsPath)) === wanted) return one;
  return (await git?.openRepository(vscode.Uri.file(repo))) ?? undefined;
}
