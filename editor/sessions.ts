// The only place that shows sessions: the status bar, the view, and the calls for a person.
import * as path from 'node:path';
import * as vscode from 'vscode';
import { Para } from './client';
import { APPLIES } from './generated/protocol';
import type { Attention, Session, SessionsChanged, StatsResult, Verb } from './generated/protocol';

type Node = Session | 'over';
type Action = { title: string; command: string };
const OVER = new Set<string>(['finished', 'cancelled']);
const ICONS: Readonly<Record<string, [icon: string, color?: string]>> = {
  preparing: ['loading~spin'],
  paused: ['debug-pause', 'disabledForeground'],
  failed: ['error', 'charts.red'],
  finished: ['git-branch', 'charts.green'],
  cancelled: ['archive', 'disabledForeground'],
  starting: ['loading~spin'],
  working: ['sync~spin', 'charts.blue'],
  waiting: ['bell-dot', 'charts.yellow'],
  done: ['pass', 'charts.green'],
  exited: ['circle-slash', 'disabledForeground'],
  unknown: ['question'],
  person: ['account'],
};
const ACTIONS: Readonly<Record<Attention['reason'], Action[]>> = {
  waiting: [
    { title: 'Attach Terminal', command: 'para.ui.attach' },
    { title: 'Show Sessions', command: 'para.sessions.focus' },
  ],
  done: [
    { title: 'Review Changes', command: 'para.ui.diff' },
    { title: 'Finish…', command: 'para.ui.finish' },
  ],
  failed: [
    { title: 'Show Logs', command: 'para.ui.logs' },
    { title: 'Review Changes', command: 'para.ui.diff' },
  ],
};

/** Name a session's state in one word: its agent's, while it runs. */
export function stateOf(session: Session): string {
  return session.state === 'running' ? (session.agent?.state ?? 'person') : session.state;
}

/** Give the icon of a session's state. */
export function iconOf(session: Session): vscode.ThemeIcon {
  const [icon, color] = ICONS[stateOf(session)] ?? ['question'];
  return new vscode.ThemeIcon(icon, color ? new vscode.ThemeColor(color) : undefined);
}

/** Tell whether something can be done with a session, as the server's own table has it. */
export function applies(verb: Verb, session: Session): boolean {
  return APPLIES[session.type][session.state].includes(verb);
}

/** All that is known of the sessions, and where it shows. */
export class Sessions implements vscode.TreeDataProvider<Node>, vscode.Disposable {
  live: readonly Session[] = [];
  over: readonly Session[] = [];
  private readonly figures = new Map<string, StatsResult>();
  private readonly asked = new Set<string>();
  private readonly stirred = new vscode.EventEmitter<Node | undefined>();
  readonly onDidChangeTreeData = this.stirred.event;
  private readonly bar = vscode.window.createStatusBarItem('para', vscode.StatusBarAlignment.Left, 10);
  private readonly view = vscode.window.createTreeView<Node>('para.sessions', { treeDataProvider: this });

  constructor(private readonly para: Para) {
    this.bar.name = 'Para';
    this.bar.command = 'para.ui.sessions';
    this.show(undefined);
    this.bar.show();
    para.onChange((change) => this.show(change));
  }

  /** Look again at everything that is not told by itself. */
  async refresh(): Promise<void> {
    this.figures.clear();
    this.asked.clear();
    const listed = await this.para.ask('para.list', { all: true });
    this.over = listed.sessions.filter(({ state }) => OVER.has(state)).reverse();
    this.tell();
  }

  getChildren(node?: Node): Node[] {
    if (node === 'over') return [...this.over];
    return node ? [] : [...this.live, ...(this.over.length ? (['over'] as const) : [])];
  }

  getTreeItem(node: Node): vscode.TreeItem {
    if (node === 'over') {
      const item = new vscode.TreeItem('Finished and Cancelled', vscode.TreeItemCollapsibleState.Collapsed);
      return Object.assign(item, { id: 'over', description: String(this.over.length), tooltip: '' });
    }
    const told = node.branch.endsWith(node.name); // a branch that holds the name tells it too
    const item = new vscode.TreeItem(told ? node.branch : node.name);
    item.id = node.id;
    item.iconPath = iconOf(node);
    item.contextValue = `session ${APPLIES[node.type][node.state].join(' ')}`;
    const changes = this.figures.get(node.id)?.changes;
    const counted = changes?.files ? `+${changes.insertions} −${changes.deletions}` : '';
    item.description = [told ? '' : node.branch, age(node.createdAt), counted].filter(Boolean).join(' · ');
    item.accessibilityInformation = { label: `${node.branch}, ${stateOf(node)}, ${item.description}` };
    if (!OVER.has(node.state)) void this.measure(node);
    return item;
  }

  async resolveTreeItem(item: vscode.TreeItem, node: Node): Promise<vscode.TreeItem> {
    if (node === 'over') return item;
    const figures = await this.para.ask('para.stats', named(node)).catch(() => undefined);
    if (figures) this.figures.set(node.id, figures);
    item.tooltip = tooltip(node, figures);
    return item;
  }

  dispose(): void {
    for (const one of [this.bar, this.view, this.stirred]) one.dispose();
  }

  private show(change: SessionsChanged | undefined): void {
    const { text, tooltip, severity } = change?.statusBar ?? this.silence();
    this.bar.text = `$(${severity === 'error' ? 'error' : severity === 'attention' ? 'bell-dot' : 'layers'}) ${text}`;
    this.bar.tooltip = tooltip;
    const color = { ok: undefined, attention: 'warning', error: 'error' }[severity];
    this.bar.backgroundColor = color ? new vscode.ThemeColor(`statusBarItem.${color}Background`) : undefined;
    if (!change) {
      this.live = this.over = []; // the view says why
      return this.tell();
    }
    void vscode.commands.executeCommand('setContext', 'para.trouble', severity === 'error');
    const ids = (sessions: readonly Session[]): string => sessions.map(({ id }) => id).join();
    const others = severity !== 'error' && (ids(this.live) !== ids(change.sessions) || !this.over.length);
    this.live = change.sessions;
    this.view.badge = badge(change);
    if (severity === 'error') this.over = []; // the view says what to do about it
    this.tell();
    if (others) void this.refresh().catch(() => undefined);
    for (const event of change.attention) void this.call(event);
  }

  private silence(): SessionsChanged['statusBar'] {
    if (!this.para.trouble) return { text: 'Para', tooltip: 'The server is starting', severity: 'ok' };
    const tooltip = `The server does not run: ${this.para.trouble}`;
    return { text: 'Para: no server', tooltip, severity: 'error' };
  }

  /** Let everything that shows sessions look again. */
  private tell(): void {
    const all = [...this.live, ...this.over];
    for (const verb of ['pause', 'resume', 'finish', 'cancel', 'recover', 'open', 'send'] as const) {
      const able = all.some((session) => applies(verb, session));
      void vscode.commands.executeCommand('setContext', `para.can.${verb}`, able);
    }
    this.stirred.fire(undefined);
  }

  /** Ask what a session that shows has changed: once for each state that it comes into. */
  private async measure(node: Session): Promise<void> {
    const state = [node.id, node.updatedAt, node.agent?.since].join();
    if (this.asked.has(state) || node.state !== 'running') return;
    this.asked.add(state);
    const figures = await this.para.ask('para.stats', named(node)).catch(() => undefined);
    if (!figures) return;
    this.figures.set(node.id, figures);
    const current = this.live.find(({ id }) => id === node.id);
    if (current) this.stirred.fire(current);
  }

  private async call({ id, reason, message }: Attention): Promise<void> {
    const wanted = vscode.workspace.getConfiguration('para.editor').get<string>('notifications', 'all');
    if (wanted === 'none' || (wanted === 'waiting' && reason !== 'waiting')) return;
    const actions = ACTIONS[reason];
    const titles = actions.map(({ title }) => title);
    const show = reason === 'done' ? vscode.window.showInformationMessage : vscode.window.showWarningMessage;
    const chosen = await show(message, ...titles);
    const action = actions.find(({ title }) => title === chosen);
    const session = this.live.find((one) => one.id === id);
    if (action) await vscode.commands.executeCommand(action.command, session);
  }
}

/** Name a session to the server. */
export function named({ name, repo }: Session): { name: string; repo: string } {
  return { name, repo };
}

/** Say how long ago something was. */
export function age(since: string): string {
  const minutes = Math.max(0, Math.floor((Date.now() - Date.parse(since)) / 60_000));
  if (minutes < 60) return minutes ? `${minutes} min` : 'now';
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} d`;
}

function badge({ sessions }: SessionsChanged): vscode.ViewBadge | undefined {
  const value = sessions.filter(({ agent, state }) => state === 'running' && agent?.state === 'waiting').length;
  return value ? { value, tooltip: `${value} wait for you` } : undefined;
}

function tooltip(session: Session, figures: StatsResult | undefined): vscode.MarkdownString {
  const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
  const { cpu = null, memory = null, memoryLimit = null, changes = null } = figures ?? {};
  const limit = memoryLimit === null ? '' : ` of ${mib(memoryLimit)}`;
  const rows: [string, string | undefined][] = [
    ['State', session.state],
    ['Agent', session.agent ? `${session.agent.name}, ${session.agent.state} ${session.agent.detail}` : undefined],
    ['Problem', session.problem?.message],
    ['Prompt', session.prompt.slice(0, 500)],
    ['Branch', session.branch],
    ['Repository', path.basename(session.repo)],
    ['Image', session.container?.image],
    ['CPU', cpu === null ? undefined : `${cpu} %`],
    ['Memory', memory === null ? undefined : `${mib(memory)}${limit}`],
    ['Changed', changes ? `${changes.files} files, +${changes.insertions} −${changes.deletions}` : undefined],
  ];
  const text = new vscode.MarkdownString('', true);
  for (const [title, told] of rows) {
    // text from a session is shown as text
    if (told?.trim()) text.appendMarkdown(`**${title}:** `).appendText(told.trim()).appendMarkdown('  \n');
  }
  return text;
}
