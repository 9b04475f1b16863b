// Find para-server, or install it into the extension's storage.
import { execFile } from 'node:child_process';
import { access, constants, readdir } from 'node:fs/promises';
import * as path from 'node:path';
import { promisify } from 'node:util';
import * as vscode from 'vscode';
import type { Problem, Remedy } from './generated/protocol';
import { runWithProgress, type Step } from './display';

/** A remedy without the empty fields. */
export type Action = Pick<Remedy, 'title'> & Partial<Remedy>;
export type ProblemLike = Pick<Problem, 'slug' | 'message'> & { readonly remedies: readonly Action[] };
type ReportStep = (step: Step) => void;
const run = promisify(execFile);
const MIN_PYTHON = [3, 11] as const;
const TRY_AGAIN = { title: 'Try Again', command: 'para.ui.restart' };
const CHOOSE_PYTHON = { title: 'Choose a Python', setting: 'editor.python' };
const GET_PYTHON = { title: 'Get Python', url: 'https://www.python.org/downloads/' };

/** A problem of the extension, in the form of the server's problems. */
export class ProblemError extends Error implements ProblemLike {
  constructor(readonly slug: string, message: string, readonly remedies: readonly Action[] = []) {
    super(message);
  }
}

/** Return the path of the server: from the setting, PATH or an earlier installation, else install it. */
export async function findServer(context: vscode.ExtensionContext): Promise<string> {
  const settings = vscode.workspace.getConfiguration('para.editor');
  const chosen = settings.get<string>('server', '');
  if (chosen && !(await canExecute(chosen))) {
    const open = { title: 'Open Setting', setting: 'editor.server' };
    throw new ProblemError('editor.no-server', `No para-server at ${chosen}`, [open]);
  }
  const server = chosen || (await findOnPath('para-server'));
  if (server) return server;
  const { version } = context.extension.packageJSON as { version: string };
  const home = path.join(context.globalStorageUri.fsPath, `server-${version}`);
  const program = path.join(home, 'bin/para-server');
  // its Python may have been removed since
  if (await run(program, ['--version']).then(() => true, () => false)) return program;
  const python = await findPython(settings.get<string>('python', ''));
  await runWithProgress('Para', (...args) => install(context, home, python, ...args));
  return program;
}

async function install(context: vscode.ExtensionContext, home: string, python: string, report: ReportStep, token: vscode.CancellationToken): Promise<void> {
  const abort = new AbortController();
  token.onCancellationRequested(() => abort.abort());
  const wheels = context.asAbsolutePath('wheel');
  try {
    const wheelFiles = (await readdir(wheels)).map((wheel) => path.join(wheels, wheel));
    const installing = run(python, ['-I', context.asAbsolutePath('install.py'), home, ...wheelFiles], { signal: abort.signal });
    installing.child.stdout?.on('data', (output) => report({ message: String(output).trim() }));
    await installing;
  } catch (error) {
    if (abort.signal.aborted) throw new ProblemError('editor.no-server', 'Installation of the server cancelled', [TRY_AGAIN]);
    const { stderr, stdout } = error as { stderr?: string; stdout?: string };
    const output = (stderr || stdout || String(error)).trim();
    throw new ProblemError('editor.no-server', `Cannot install the server: ${output.slice(-600)}`, [TRY_AGAIN, CHOOSE_PYTHON]);
  }
}

async function findPython(chosen: string): Promise<string> {
  // -I: without it python would import modules of the current folder, which may be untrusted
  const python = chosen || (await findOnPath('python3')) || 'python3';
  const check = run(python, ['-I', '-c', 'import platform; print(platform.python_version())']);
  const version = await check.then(({ stdout }) => stdout.trim(), () => '');
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > MIN_PYTHON[0] || (major === MIN_PYTHON[0] && minor >= MIN_PYTHON[1])) return python;
  const problem = version ? `${python} is ${version}` : `${python} does not run`;
  throw new ProblemError('editor.no-python', `Para needs Python ${MIN_PYTHON.join('.')} or newer: ${problem}`, [CHOOSE_PYTHON, GET_PYTHON, TRY_AGAIN]);
}

async function findOnPath(name: string): Promise<string | undefined> {
  const folders = (process.env['PATH'] ?? '').split(path.delimiter).filter((folder) => path.isAbsolute(folder));
  const files = folders.map((folder) => path.join(folder, name));
  const isExecutable = await Promise.all(files.map(canExecute)); // in parallel: each reply may wait in a busy editor
  return files.find((_, place) => isExecutable[place]);
}

async function canExecute(file: string): Promise<boolean> {
  return access(file, constants.X_OK).then(() => true, () => false);
}
