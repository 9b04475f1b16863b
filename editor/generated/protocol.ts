// Written by `make generate`; edit the Python side instead.
/** The agent of a session and its latest report. */
export interface Agent {
  name: string;
  state: AgentState;
  detail: string;
  since: string | null;
}
/** The state of an agent; `waiting` means that it needs a person. */
export type AgentState = 'starting' | 'working' | 'waiting' | 'done' | 'failed' | 'exited' | 'unknown';
/** An event of a session that a person should know. */
export interface Attention {
  id: string;
  name: string;
  repo: string;
  reason: 'waiting' | 'done' | 'failed';
  message: string;
  remedies: readonly Remedy[];
}
/** Branches of a repository. */
export interface BranchesResult {
  branches: readonly string[];
}
/** The image to build. */
export interface BuildParams {
  agent?: string | null;
  noCache?: boolean;
}
/** A built image; size in bytes. */
export interface BuildResult {
  image: string;
  id: string;
  size: number;
  seconds: number;
}
/** A cancelled session; `archive` is the ref of its work, null if there was none. */
export interface CancelResult {
  session: Session;
  archive: string | null;
  left: readonly Left[];
}
/** The size of a session's changes since its base commit. */
export interface Changes {
  files: number;
  insertions: number;
  deletions: number;
}
/** One check of a requirement. */
export interface Check {
  name: string;
  ok: boolean;
  detail: string;
  problem: Problem | null;
  level: 'error' | 'warning' | 'ok';
}
/** Whether to remove leftovers or only list them. */
export interface CleanParams {
  dryRun?: boolean;
}
/** The resources that were or would be removed, and those that are kept. */
export interface CleanResult {
  removed: readonly string[];
  kept: readonly string[];
}
/** The agent whose login to remove. */
export interface CleanupParams {
  agent?: string | null;
}
/** The container of a session. */
export interface Container {
  id: string;
  name: string;
  image: string;
}
/** The changes of a session since its base commit. */
export interface DiffResult {
  files: readonly FileChange[];
  patch: string;
  omitted: readonly string[];
}
/** A session with a task for an agent. */
export interface DispatchParams {
  name?: string | null;
  repo?: string | null;
  base?: string | null;
  branch?: string | null;
  type?: 'container' | 'worktree' | null;
  agent?: string | null;
  image?: string | null;
  network?: string | null;
  prompt?: string | null;
  promptFile?: string | null;
}
/** All checks. */
export interface DoctorResult {
  checks: readonly Check[];
}
/** One changed file; the line counts of a binary file are 0. */
export interface FileChange {
  path: string;
  status: string;
  insertions: number;
  deletions: number;
}
/** A file of a session, at its base commit or at its latest review. */
export interface FileParams {
  name?: string | null;
  repo?: string | null;
  path: string;
  side?: 'base' | 'session';
}
/** The text of a file, cut if it is long, and empty if the file is binary. */
export interface FileResult {
  path: string;
  exists: boolean;
  binary: boolean;
  cut: boolean;
  text: string;
}
/** A session and how to commit its work. */
export interface FinishParams {
  name?: string | null;
  repo?: string | null;
  message: string;
  branch?: string | null;
}
/** The branch of a finished session; `archive` is the ref of work that is not in the branch. */
export interface FinishResult {
  session: Session;
  branch: string;
  commit: string;
  files: number;
  insertions: number;
  deletions: number;
  autoRunFiles: readonly string[];
  omitted: readonly string[];
  left: readonly Left[];
  archive: string | null;
}
/** One invalid field of the params or of the settings. */
export interface Issue {
  path: string;
  message: string;
}
/** Work that is not in the branch or the archive: its path or ref, and the reason. */
export interface Left {
  what: 'submodule' | 'stash' | 'branch' | 'tag' | 'ignored-repository' | 'merge';
  path: string | null;
  ref: string | null;
  detail: string;
}
/** The sessions to list. */
export interface ListParams {
  repo?: string | null;
  all?: boolean;
}
/** Sessions, the number of running containers, and its limit. */
export interface ListResult {
  sessions: readonly Session[];
  running: number;
  limit: number;
}
/** The agent that a login is for. */
export interface LoginParams {
  agent?: string | null;
}
/** A new login for sessions; no image if it is in a volume. */
export interface LoginResult {
  image: string | null;
  state: 'valid' | 'expired' | 'missing' | 'unknown';
}
/** The state of a login; `expires_at` is null if it is unknown. */
export interface LoginStatus {
  state: 'valid' | 'expired' | 'missing' | 'unknown';
  expiresAt: string | null;
  image: string | null;
}
/** A session and the part of its output. */
export interface LogsParams {
  name?: string | null;
  repo?: string | null;
  tail?: number | null;
}
/** The output of an agent. */
export interface LogsResult {
  text: string;
}
/** A command without params. */
export type NoParams = Record<string, never>;
/** A session with its folder and the command that opens it. */
export interface OpenResult {
  session: Session;
  uri: string;
  folder: string;
  terminal: Terminal;
}
/** A session and how to pause it. */
export interface PauseParams {
  name?: string | null;
  repo?: string | null;
  mode?: 'save' | 'freeze';
}
/** A failure as clients get it. */
export interface Problem {
  slug: string;
  message: string;
  remedies: readonly Remedy[];
  issues: readonly Issue[] | null;
}
/** A cancelled session. */
export interface RecoverParams {
  name: string;
  repo?: string | null;
}
/** One action that solves a problem, complete enough to be run as it is. */
export interface Remedy {
  title: string;
  command: string | null;
  params: Readonly<Record<string, unknown>> | null;
  setting: string | null;
  url: string | null;
}
/** The removed resources. */
export interface RemovedResult {
  removed: readonly string[];
}
/** A repository. */
export interface RepoParams {
  repo?: string | null;
}
/** A session and what to add to its task. */
export interface ResumeParams {
  name?: string | null;
  repo?: string | null;
  prompt?: string | null;
}
/** A session and the text for its agent. */
export interface SendParams {
  name?: string | null;
  repo?: string | null;
  text: string;
}
/** A task with its own workspace, branch, and (by type) container and agent. */
export interface Session {
  id: string;
  name: string;
  type: 'container' | 'worktree';
  state: State;
  repo: string;
  base: string;
  branch: string;
  workspace: string | null;
  container: Container | null;
  engine: string | null;
  agent: Agent | null;
  title: string;
  prompt: string;
  createdAt: string;
  updatedAt: string;
  problem: Problem | null;
  warnings: readonly string[];
}
/** A session, by default the one of the current folder or the only active one. */
export interface SessionParams {
  name?: string | null;
  repo?: string | null;
}
/** The body of `para/sessionsChanged`; `attention` contains each event once. */
export interface SessionsChanged {
  sessions: readonly Session[];
  running: number;
  limit: number;
  statusBar: StatusBar;
  attention: readonly Attention[];
}
/** The agent that a login is for, and its first content. */
export interface SetupParams {
  agent?: string | null;
  copyHostLogin?: boolean;
}
/** The command that opens a login in a terminal, and its container. */
export interface SetupResult {
  terminal: Terminal;
  container: string;
}
/** A session for a person. */
export interface StartParams {
  name?: string | null;
  repo?: string | null;
  base?: string | null;
  branch?: string | null;
  type?: 'container' | 'worktree' | null;
  agent?: string | null;
  image?: string | null;
  network?: string | null;
}
/** The state of a session. */
export type State = 'preparing' | 'running' | 'paused' | 'finished' | 'cancelled' | 'failed';
/** A session and what to measure. */
export interface StatsParams {
  name?: string | null;
  repo?: string | null;
  load?: boolean;
}
/** The resource use and changes of a session; unknown values are null. */
export interface StatsResult {
  cpu: number | null;
  memory: number | null;
  memoryLimit: number | null;
  changes: Changes | null;
  tooltip: string;
}
/** The status bar of an editor. */
export interface StatusBar {
  text: string;
  tooltip: string;
  severity: 'ok' | 'attention' | 'error';
}
/** A command to run in a person's terminal. */
export interface Terminal {
  command: string;
  args: readonly string[];
}
/** Each command's params and result. */
export interface Commands {
  'para.auth.cleanup': [CleanupParams, RemovedResult];
  'para.auth.complete': [LoginParams, LoginResult];
  'para.auth.setup': [SetupParams, SetupResult];
  'para.auth.status': [LoginParams, LoginStatus];
  'para.branches': [RepoParams, BranchesResult];
  'para.cancel': [SessionParams, CancelResult];
  'para.clean': [CleanParams, CleanResult];
  'para.diff': [SessionParams, DiffResult];
  'para.dispatch': [DispatchParams, Session];
  'para.doctor': [NoParams, DoctorResult];
  'para.file': [FileParams, FileResult];
  'para.finish': [FinishParams, FinishResult];
  'para.image.build': [BuildParams, BuildResult];
  'para.list': [ListParams, ListResult];
  'para.logs': [LogsParams, LogsResult];
  'para.open': [SessionParams, OpenResult];
  'para.pause': [PauseParams, Session];
  'para.recover': [RecoverParams, Session];
  'para.resume': [ResumeParams, Session];
  'para.send': [SendParams, Session];
  'para.show': [SessionParams, Session];
  'para.start': [StartParams, Session];
  'para.stats': [StatsParams, StatsResult];
}
export type Command = keyof Commands;
export const TITLES: Record<Command, string> = {
  'para.auth.cleanup': 'Remove Login',
  'para.auth.complete': 'Complete Login',
  'para.auth.setup': 'Log In',
  'para.auth.status': 'Show Login',
  'para.branches': 'List Branches',
  'para.cancel': 'Cancel Session',
  'para.clean': 'Remove Leftovers',
  'para.diff': 'Review Changes',
  'para.dispatch': 'Dispatch Agent',
  'para.doctor': 'Check Setup',
  'para.file': 'Show File',
  'para.finish': 'Finish Session',
  'para.image.build': 'Build Image',
  'para.list': 'List Sessions',
  'para.logs': 'Show Logs',
  'para.open': 'Open Session',
  'para.pause': 'Pause Session',
  'para.recover': 'Recover Session',
  'para.resume': 'Resume Session',
  'para.send': 'Send to Agent',
  'para.show': 'Show Session',
  'para.start': 'Start Session',
  'para.stats': 'Show Stats',
};
export const SETTINGS = [
  'container.enabled',
  'container.image',
  'container.allowedImages',
  'container.maxRunning',
  'container.network',
  'container.allowedDomains',
  'container.cpus',
  'container.memory',
  'container.pids',
  'container.sudo',
  'container.setupScript',
  'container.setupMinutes',
  'container.env',
  'container.mounts',
  'container.caBundle',
  'agent.name',
  'agent.allowed',
  'agent.args',
  'agent.credentials',
  'agent.env',
  'agent.permissions',
  'agent.maxMinutes',
  'agent.idleMinutes',
  'agent.profiles',
  'engine.host',
  'engine.context',
  'engine.timeout',
  'git.branchPrefix',
  'git.objects',
  'git.shareFrom',
  'git.maxBases',
  'git.maxBundle',
  'git.maxSeconds',
] as const;
/** The verbs that apply to a session, by its type and state. */
export const VERBS = ['pause', 'resume', 'finish', 'cancel', 'recover', 'open', 'send'] as const;
export type Verb = (typeof VERBS)[number];
export const VERBS_BY_STATE: Record<Session['type'], Record<State, readonly Verb[]>> = {
  container: {
    preparing: [],
    running: ['pause', 'finish', 'cancel', 'open', 'send'],
    paused: ['resume', 'finish', 'cancel'],
    finished: ['resume'],
    cancelled: ['recover'],
    failed: ['resume', 'finish', 'cancel'],
  },
  worktree: {
    preparing: [],
    running: ['finish', 'cancel', 'open'],
    paused: ['resume', 'finish', 'cancel'],
    finished: ['resume'],
    cancelled: ['recover'],
    failed: ['resume', 'finish', 'cancel'],
  },
};
/** Commands for a session: command, label, and the verb that must apply. */
export const SESSION_ACTIONS: readonly (readonly [string, string, Verb | ''])[] = [
  ['para.ui.open', '$(window) Open Session', 'open'],
  ['para.ui.attach', '$(terminal) Attach Terminal', 'open'],
  ['para.ui.diff', '$(diff-multiple) Review Changes', ''],
  ['para.ui.logs', '$(output) Show Logs', ''],
  ['para.ui.send', '$(comment) Send to Agent', 'send'],
  ['para.ui.pause', '$(debug-pause) Pause Session', 'pause'],
  ['para.ui.resume', '$(debug-continue) Resume Session', 'resume'],
  ['para.ui.finish', '$(check) Finish Session', 'finish'],
  ['para.ui.cancel', '$(trash) Cancel Session', 'cancel'],
  ['para.ui.recover', '$(history) Recover Session', 'recover'],
];
/** Commands without a session: command, label. */
export const GENERAL_ACTIONS: readonly (readonly [string, string])[] = [
  ['para.ui.dispatch', '$(add) Dispatch Agent'],
  ['para.ui.start', '$(account) Start Session'],
  ['para.ui.doctor', '$(checklist) Check Setup'],
  ['para.sessions.focus', '$(list-tree) Show the View'],
];
/** Icon and optional color of a session, by its state or its agent's. */
export const STATE_ICONS: Record<State | AgentState, readonly [string, string?]> = {
  cancelled: ['archive', 'disabledForeground'],
  done: ['pass', 'charts.green'],
  exited: ['circle-slash', 'disabledForeground'],
  failed: ['error', 'charts.red'],
  finished: ['git-branch', 'charts.green'],
  paused: ['debug-pause', 'disabledForeground'],
  preparing: ['loading~spin'],
  running: ['account'],
  starting: ['loading~spin'],
  unknown: ['question'],
  waiting: ['bell-dot', 'charts.yellow'],
  working: ['sync~spin', 'charts.blue'],
};
