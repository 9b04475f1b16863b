// Register the commands of the palette: ask for params, call the server, show the result.
import { realpath } from 'node:fs/promises';
import * as vscode from 'vscode';
import type { Para } from './client';
import { SESSION_ACTIONS, GENERAL_ACTIONS, type Session, type StartParams, type Terminal, type Verb } from './generated/protocol';
import type { Review } from './review';
import { ProblemError, type Action } from './server';
import { formatAge, isApplicable, getIcon, toParams, getState, type SessionsView } from './sessions';
import { showInput, notify, showPick, sanitize, showStatus, type Choice } from './display';

const { window, workspace } = vscode;
const { executeCommand } = vscode.commands;
const NOTHING_CHOSEN = 'editor.nothing-chosen';
const CONTAINER_RESOLVER = 'onResolveRemoteAuthority:attached-container';
const DEV_CONTAINERS = '@id:ms-vscode-remote.remote-containers';
/** The part of the API of VS Code's git extension that is used here. */
type Repository = { rootUri: vscode.Uri; checkout(branch: string): Promise<void> };
type Git = { getAPI(version: 1): { repositories: Repository[]; openRepository(root: vscode.Uri): Promise<Repository | null> } };

/** Register every command; they exist also without a server. */
export function register(para: Para, sessions: SessionsView, review: Review): vscode.Disposable[] {
  async function dispatch(prompt: string): Promise<void> {
    const { name } = await para.run('para.dispatch', { prompt, ...(await askStart()) });
    showStatus('check', `${name} started`);
  }

  async function askStart(): Promise<StartParams> {
    await para.request('para.list', {}); // fail before asking if the server cannot serve
    const folders = workspace.workspaceFolders ?? [];
    const folder = folders.length > 1 ? ((await window.showWorkspaceFolderPick()) ?? cancel()) : folders[0];
    if (!folder) return {}; // the server reports what is missing
    const repo = folder.uri.fsPath;
    const { branches } = await para.request('para.branches', { repo });
    const head = { label: 'HEAD', description: 'the current commit', value: 'HEAD' };
    return { repo, base: await chooseValue('Start From', [head, ...branches.map((value) => ({ label: value, value }))]) };
  }

  async function pickSession(verb: Verb | '', given: unknown): Promise<Session> {
    const { name, repo } = (given ?? {}) as Partial<Session>;
    if (name && repo) return para.request('para.show', { name, repo });
    const { sessions: listed } = await para.request('para.list', { all: true });
    const candidates = listed.filter((session) => isApplicable(verb, session));
    if (candidates.length === 1 && candidates[0]) return candidates[0];
    if (!candidates.length) throw new ProblemError(NOTHING_CHOSEN, `No session to ${verb || 'show'}`);
    return chooseValue('Which session?', candidates.map(toChoice));
  }

  async function showReview(session: Session): Promise<unknown> {
    const omitted = await review.show(session);
    if (!omitted) return notify('info', `${session.name} has no changes yet`);
    const nextActions: Action[] = [];
    if (isApplicable('finish', session)) nextActions.push(createAction('Finish…', 'finish', session));
    if (session.state === 'finished') nextActions.push(createAction('Check Out', 'checkOut', session));
    if (session.type === 'container') nextActions.push(createAction('Ask for Changes…', 'send', session));
    return para.showActions(omitted.length ? 'warning' : 'info', [`Reviewing ${session.name}`, ...omitted].join('. '), nextActions);
  }

  async function askForChanges(session: Session): Promise<void> {
    const text = await askText(`Send to ${session.name}`, '', 'Instructions for the agent');
    if (isApplicable('send', session)) await para.run('para.send', { ...toParams(session), text }, session.name);
    else await para.run('para.resume', { ...toParams(session), prompt: text }, session.name);
  }

  async function finish(session: Session): Promise<void> {
    const defaultMessage = session.prompt.split('\n')[0]?.slice(0, 72) || `Work of ${session.name}`;
    const message = await askText(`Finish ${session.name}`, defaultMessage, 'Commit message for uncommitted changes');
    const result = await para.run('para.finish', { ...toParams(session), message }, session.name);
    const summary = `Created the branch ${result.branch}: ${result.files} files, +${result.insertions} −${result.deletions}`;
    const leftOut = result.left.length ? [`Not in the branch: ${result.left.map(({ what, detail }) => `${what} (${detail})`).slice(0, 3).join(', ')}`] : [];
    const count = result.autoRunFiles.length;
    const autoRun = count ? [`Files that run automatically when opened or built (${count}): ${result.autoRunFiles.join(', ')}`] : [];
    const next = [createAction('Review Changes', 'diff', session), createAction('Check Out', 'checkOut', session)];
    // the longest part is last, since the end may be cut
    const severity = count || result.omitted.length ? 'warning' : 'info';
    await para.showActions(severity, [summary, ...result.omitted, ...leftOut, ...autoRun].join('. '), next);
  }

  async function open(session: Session): Promise<unknown> {
    const { uri, terminal } = await para.request('para.open', toParams(session));
    const target = vscode.Uri.parse(uri, true);
    if (target.scheme === 'file' || canAttach()) return executeCommand('vscode.openFolder', target, { forceNewWindow: true });
    openTerminal(session.name, terminal);
    await review.show(session);
    const message = 'This editor cannot open a container as a folder; opened a terminal and the changes instead';
    const chosen = await notify('info', message, 'Install Dev Containers');
    return chosen && executeCommand('workbench.extensions.search', DEV_CONTAINERS);
  }

  async function checkSetup(): Promise<void> {
    const { checks } = await para.run('para.doctor', {});
    const items = checks.map(({ name, ok, detail, problem }) => {
      return { label: name, iconPath: new vscode.ThemeIcon(ok ? 'pass' : 'error'), description: detail, value: problem };
    });
    const placeHolder = checks.every(({ ok }) => ok) ? 'No problems found' : 'Choose a failed check to see its remedies';
    const problem = await chooseValue('Check Setup', items, placeHolder);
    if (problem) await para.showProblem(problem);
  }

  async function showSessions(): Promise<void> {
    const { sessions: active } = await para.request('para.list', {});
    const entries = GENERAL_ACTIONS.map(([value, label]) => ({ label, value }));
    const value = await chooseValue<Session | string>('Para', [...active.map(toChoice), ...entries]);
    if (typeof value === 'string') return executeCommand(value);
    const applicable = SESSION_ACTIONS.filter(([, , verb]) => isApplicable(verb, value));
    const choices = applicable.map(([command, label]) => ({ label, value: command }));
    await executeCommand(await chooseValue(value.name, choices, value.prompt), value);
  }

  const forSession = (verb: Verb | '', work: (session: Session) => Promise<unknown>) => async (given: unknown) =>
    work(await pickSession(verb, given));
  const runSimple = (verb: 'pause' | 'resume' | 'recover') =>
    forSession(verb, (session) => para.run(`para.${verb}`, toParams(session), session.name));
  const commands: Record<string, (given: unknown) => unknown> = {
    dispatch: async () => dispatch(await askText('Dispatch Agent', '', 'Task for the agent')),
    dispatchSelection: () => dispatch(readEditorText(true)),
    dispatchFile: () => dispatch(readEditorText(false)),
    start: async () => para.run('para.start', await askStart()),
    ...{ pause: runSimple('pause'), resume: runSimple('resume'), recover: runSimple('recover') },
    finish: forSession('finish', finish),
    cancel: forSession('cancel', async (session) => {
      const { archive } = await para.run('para.cancel', toParams(session), session.name);
      const kept = archive ? 'use Recover Session to restore its work' : 'it had no changes';
      void notify('info', `Cancelled ${session.name}: ${kept}`);
    }),
    send: forSession('send', askForChanges),
    open: forSession('open', open),
    attach: forSession('open', async (session) => openTerminal(session.name, (await para.request('para.open', toParams(session))).terminal)),
    diff: forSession('', showReview),
    checkOut: forSession('', checkOut),
    logs: forSession('', (session) => review.log(session)),
    'image.build': async () => {
      const { image, size, seconds } = await para.run('para.image.build', {});
      void notify('info', `Built ${image}: ${size >> 20} MiB in ${seconds} s`);
    },
    'auth.setup': async () => {
      openTerminal('Log In', (await para.run('para.auth.setup', {})).terminal);
      const complete = { title: 'Complete Login', command: 'para.auth.complete' };
      await para.showActions('info', 'Log in in the terminal, then complete the login', [complete]);
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

function cancel(): never {
  throw new vscode.CancellationError();
}

function createAction(title: string, name: string, session: Session): Action {
  return { title, command: `para.ui.${name}`, params: toParams(session) };
}

async function chooseValue<T>(title: string, items: readonly Choice<T>[], placeHolder = ''): Promise<T> {
  return ((await showPick(title, items, placeHolder)) ?? cancel()).value;
}

async function askText(title: string, value: string, prompt: string): Promise<string> {
  return (await showInput(title, value, prompt))?.trim() || cancel();
}

function toChoice(session: Session): Choice<Session> {
  const description = `${getState(session)} · ${session.branch} · ${formatAge(session.createdAt)}`;
  return { label: session.name, iconPath: getIcon(session), description, detail: session.prompt.slice(0, 200), value: session };
}

function openTerminal(name: string, { command, args }: Terminal): void {
  window.createTerminal({ name: sanitize(name), shellPath: command, shellArgs: [...args] }).show();
}

function canAttach(): boolean {
  const getEvents = (described: unknown) => (described as { activationEvents?: string[] }).activationEvents;
  return vscode.extensions.all.some(({ packageJSON }) => getEvents(packageJSON)?.includes(CONTAINER_RESOLVER));
}

function readEditorText(selected: boolean): string {
  const editor = window.activeTextEditor;
  const text = editor?.document.getText(selected ? editor.selection : undefined).trim();
  if (!text) throw new ProblemError(NOTHING_CHOSEN, `${selected ? 'Select text' : 'Open a file'} that describes the task`);
  return text;
}

async function checkOut({ repo, branch }: Session): Promise<void> {
  const command = `git -C '${repo.replaceAll("'", "'\\''")}' switch '${branch.replaceAll("'", "'\\''")}'`;
  const repository = await findRepository(repo).catch(() => undefined); // VS Code's git may be disabled
  if (!repository) throw new ProblemError(NOTHING_CHOSEN, `VS Code's git extension has not opened ${repo}; run: ${command}`);
  try {
    await repository.checkout(branch);
  } catch (error) {
    const { stderr = '', message = '' } = error as { stderr?: string; message?: string };
    throw new ProblemError('editor.git', `Cannot check out ${branch}: ${stderr.trim() || message}`);
  }
  showStatus('check', `Checked out ${branch}`);
}

/** Return a repository of VS Code's git extension, which may have opened it through a symlink. */
async function findRepository(repo: string): Promise<Repository | undefined> {
  const git = (await vscode.extensions.getExtension<Git>('vscode.git')?.activate())?.getAPI(1);
  const real = (place: string) => realpath(place).catch(() => place);
  const wanted = await real(repo);
  for (const one of git?.repositories ?? []) if ((await real(one.rootUri.fsPath)) === wanted) return one;
  return (await git?.openRepository(vscode.Uri.file(repo))) ?? undefined;
}
