// The only place that finds para-server, or installs it into the extension's own storage.
import { execFile } from 'node:child_process';
import { access, constants, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';
import * as vscode from 'vscode';
import type { Problem, Remedy } from './generated/protocol';

const run = promisify(execFile);
const WINDOWS = process.platform === 'win32';
const NEEDED = [3, 11] as const;
const PYTHONS = WINDOWS ? ['py', 'python'] : ['python3', 'python'];

/** What went wrong, in the shape in which the server tells it too. */
export class Failed extends Error {
  readonly problem: Problem;

  constructor(slug: string, message: string, ...remedies: Partial<Remedy>[]) {
    super(message);
    const empty = { title: '', command: null, params: null, setting: null, url: null };
    const whole = remedies.map((remedy) => ({ ...empty, ...remedy }));
    this.problem = { slug, message, remedies: whole, issues: null };
  }
}

/** Find the server: the setting, PATH, the one that is installed already, or install it now. */
export async function findServer(
  context: vscode.ExtensionContext,
  log: vscode.LogOutputChannel,
): Promise<string> {
  const settings = vscode.workspace.getConfiguration('para.editor');
  const chosen = settings.get<string>('server', '');
  if (chosen) {
    if (await runs(chosen)) return chosen;
    throw new Failed('editor.no-server', `There is no para-server at ${chosen}`, {
      title: 'Open the Setting',
      setting: 'editor.server',
    });
  }
  const onPath = await fromPath('para-server');
  if (onPath) return onPath;
  const version = String((context.extension.packageJSON as { version: unknown }).version);
  const home = path.join(context.globalStorageUri.fsPath, `server-${version}`);
  const server = path.join(home, WINDOWS ? 'Scripts' : 'bin', `para-server${WINDOWS ? '.exe' : ''}`);
  const ready = path.join(home, '.ready');
  if ((await exists(ready)) && (await runs(server))) return server;
  const python = await findPython(settings.get<string>('python', ''));
  log.info(`Installing the server into ${home} with ${python}`);
  await vscode.window.withProgress(
    { location: vscode.ProgressLocation.Notification, title: 'Para', cancellable: true },
    (progress, token) => install(context, home, python, progress, token),
  );
  await writeFile(ready, '');
  return server;
}

async function install(
  context: vscode.ExtensionContext,
  home: string,
  python: string,
  progress: vscode.Progress<{ message: string }>,
  token: vscode.CancellationToken,
): Promise<void> {
  const wheels = context.asAbsolutePath('wheel');
  const wheel = (await readdir(wheels)).find((name) => name.endsWith('.whl')) ?? '';
  const stopped = new AbortController();
  token.onCancellationRequested(() => stopped.abort());
  const { signal } = stopped;
  const inside = path.join(home, WINDOWS ? 'Scripts/python.exe' : 'bin/python');
  try {
    await rm(home, { recursive: true, force: true });
    await mkdir(path.dirname(home), { recursive: true });
    progress.report({ message: 'making a place for the server…' });
    await run(python, ['-m', 'venv', home], { signal });
    progress.report({ message: 'installing the server and what it needs…' });
    const quiet = ['--quiet', '--disable-pip-version-check', '--no-input'];
    await run(inside, ['-m', 'pip', 'install', ...quiet, path.join(wheels, wheel)], { signal });
  } catch (error) {
    await rm(home, { recursive: true, force: true });
    if (signal.aborted) throw new Failed('editor.no-server', 'The server was not installed', AGAIN);
    const said = String((error as { stderr?: unknown }).stderr || error).trim();
    const last = said.split('\n').slice(-3).join(' ').slice(0, 400);
    const hint = said.includes('ensurepip') ? ' (on Debian: apt-get install python3-venv)' : '';
    throw new Failed('editor.no-server', `The server could not be installed${hint}: ${last}`, AGAIN, LOG);
  }
}

const AGAIN = { title: 'Try Again', command: 'para.ui.restart' };
const LOG = { title: 'Show the Log', command: 'para.ui.log' };
const CHOOSE = { title: 'Choose a Python', setting: 'editor.python' };
const GET = { title: 'Get Python', url: 'https://www.python.org/downloads/' };

async function findPython(chosen: string): Promise<string> {
  const found: string[] = [];
  for (const candidate of chosen ? [chosen] : PYTHONS) {
    const python = path.isAbsolute(candidate) ? candidate : await fromPath(candidate);
    if (!python) continue;
    const version = await versionOf(python);
    if (!version) continue;
    const [major = 0, minor = 0] = version.split('.').map(Number);
    if (major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])) return python;
    found.push(`${python} is ${version}`);
  }
  const there = found.length ? found.join(', ') : chosen ? `${chosen} is none` : 'there is none on PATH';
  const message = `Para needs Python ${NEEDED.join('.')} or newer: ${there}`;
  throw new Failed('editor.no-python', message, CHOOSE, GET, AGAIN);
}

async function versionOf(python: string): Promise<string | undefined> {
  try {
    const told = await run(python, ['-c', 'import platform; print(platform.python_version())']);
    return told.stdout.trim();
  } catch {
    return undefined;
  }
}

async function fromPath(name: string): Promise<string | undefined> {
  const names = WINDOWS ? [`${name}.exe`, `${name}.cmd`] : [name];
  for (const folder of (process.env['PATH'] ?? '').split(path.delimiter)) {
    for (const each of names) {
      const file = path.join(folder, each);
      if (path.isAbsolute(file) && (await runs(file))) return file;
    }
  }
  return undefined;
}

async function runs(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(() => true, () => false);
}

async function exists(file: string): Promise<boolean> {
  return access(file).then(() => true, () => false);
}
