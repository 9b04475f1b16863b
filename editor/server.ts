// The only place that finds para-server, or installs it into the extension's own storage.
import { execFile } from 'node:child_process';
import { access, constants, readdir } from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';
import * as vscode from 'vscode';
import type { Problem, Remedy } from './generated/protocol';
import { progress, type Step } from './shown';

/** What can be done about it: a remedy, of which only what there is has to be said. */
export type Offer = Pick<Remedy, 'title'> & Partial<Remedy>;
export type Trouble = Pick<Problem, 'slug' | 'message'> & { readonly remedies: readonly Offer[] };
type Tell = (step: Step) => void;
const run = promisify(execFile);
const NEEDED = [3, 11] as const;
const AGAIN = { title: 'Try Again', command: 'para.ui.restart' };
const CHOOSE = { title: 'Choose a Python', setting: 'editor.python' };
const GET = { title: 'Get Python', url: 'https://www.python.org/downloads/' };

/** What went wrong, in the shape in which the server tells it too. */
export class Failed extends Error implements Trouble {
  constructor(readonly slug: string, message: string, readonly remedies: readonly Offer[] = []) {
    super(message);
  }
}

/** Find the server: the setting, PATH, the one that is installed already, or install it now. */
export async function findServer(context: vscode.ExtensionContext): Promise<string> {
  const settings = vscode.workspace.getConfiguration('para.editor');
  const chosen = settings.get<string>('server', '');
  if (chosen && !(await runs(chosen))) {
    const open = { title: 'Open the Setting', setting: 'editor.server' };
    throw new Failed('editor.no-server', `There is no para-server at ${chosen}`, [open]);
  }
  const found = chosen || (await fromPath('para-server'));
  if (found) return found;
  const { version } = context.extension.packageJSON as { version: string };
  const home = path.join(context.globalStorageUri.fsPath, `server-${version}`);
  const program = path.join(home, 'bin/para-server');
  // its Python may have gone away since
  if (await run(program, ['--version']).then(() => true, () => false)) return program;
  const python = await findPython(settings.get<string>('python', ''));
  await progress('Para', (...how) => install(context, home, python, ...how));
  return program;
}

async function install(context: vscode.ExtensionContext, home: string, python: string, tell: Tell, token: vscode.CancellationToken): Promise<void> {
  const stopped = new AbortController();
  token.onCancellationRequested(() => stopped.abort());
  const wheels = context.asAbsolutePath('wheel');
  try {
    const given = (await readdir(wheels)).map((wheel) => path.join(wheels, wheel));
    const installing = run(python, ['-I', context.asAbsolutePath('install.py'), home, ...given], { signal: stopped.signal });
    installing.child.stdout?.on('data', (said) => tell({ message: String(said).trim() }));
    await installing;
  } catch (error) {
    if (stopped.signal.aborted) throw new Failed('editor.no-server', 'The server was not installed', [AGAIN]);
    const { stderr, stdout } = error as { stderr?: string; stdout?: string };
    const said = (stderr || stdout || String(error)).trim();
    throw new Failed('editor.no-server', `The server could not be installed: ${said.slice(-600)}`, [AGAIN, CHOOSE]);
  }
}

async function findPython(chosen: string): Promise<string> {
  // apart: this may run in a folder of a stranger's, from which python would import
  const python = chosen || (await fromPath('python3')) || 'python3';
  const asked = run(python, ['-I', '-c', 'import platform; print(platform.python_version())']);
  const version = await asked.then(({ stdout }) => stdout.trim(), () => '');
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > NEEDED[0] || (major === NEEDED[0] && minor >= NEEDED[1])) return python;
  const found = version ? `${python} is ${version}` : `${python} does not run`;
  throw new Failed('editor.no-python', `Para needs Python ${NEEDED.join('.')} or newer: ${found}`, [CHOOSE, GET, AGAIN]);
}

async function fromPath(name: string): Promise<string | undefined> {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter).filter((folder) => path.isAbsolute(folder));
  const files = folders.map((folder) => path.join(folder, name));
  const there = await Promise.all(files.map(runs)); // at once: an answer waits its turn in a busy editor
  return files.find((_, place) => there[place]);
}

async function runs(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(() => true, () => false);
}
