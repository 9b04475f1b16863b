// The only place that shows sessions: the status bar, the view, and the calls for a person.
import * as vscode from 'vscode';
import type { Para } from './client';
import { setContext } from './client';
import { APPLIES, VERBS } from './generated/protocol';
import type { Attention, Session, SessionsChanged, StatsResult, Verb } from './generated/protocol';

type Node = Session | 'over';
const OVER = new Set<string>(['finished', 'cancelled']);
const ICONS: Readonly<Record<string, [icon: string, color?: string]>> = {
  preparing: ['loading~spin'], running: ['account'], paused: ['debug-pause', 'disabledForeground'],
  finished: ['git-branch', 'charts.green'], cancelled: ['archive', 'disabledForeground'],
  starting: ['loading~spin'], working: ['sync~spin', 'charts.blue'], waiting: ['bell-dot', 'charts.yellow'],
  done: ['pass', 'charts.green'], failed: ['error', 'charts.red'], exited: ['circle-slash', 'disabledForeground'],
};

/** Name a session's state in one word: its agent's, while it runs. */
export function stateOf({ state, agent }: Session): string {
  return state === 'running' && agent ? agent.state : state;
}

/** Give the icon of a session's state. */
export function iconOf(session: Session): vscode.ThemeIcon {
  const [icon, color] = ICONS[stateOf(session)] ?? ['question'];
  return new vscode.ThemeIcon(icon, color ? new vscode.ThemeColor(color) : undefined);
}

/** Tell whether something can be done with a session, as the server's own table has it. */
export function applies(verb: Verb | '', session: Session): boolean {
  return verb === '' || APPLIES[session.type][session.state].includes(verb);
}

/** Name a session to the server. */
export function named({ name, repo }: Session): { name: string; repo: string } {
  return { name, repo };
}

/** Say how long ago something was. */
export function age(since: string): string {
  const minutes = Math.floor((Date.now() - Date.parse(since)) / 60_000);
  if (minutes < 60) return minutes > 0 ? `${minutes} min` : 'now';
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} d`;
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
    this.bar.show();
    this.show(undefined);
    para.onChange((change) => this.show(change));
  }

  /** Look again at everything that is not told by itself. */
  async refresh(): Promise<void> {
    this.asked.clear();
    const { sessions } = await this.para.ask('para.list', { all: true });
    this.over = sessions.filter(({ state }) => OVER.has(state)).reverse();
    this.tell();
  }

  getChildren(node?: Node): Node[] {
    if (node) return node === 'over' ? [...this.over] : [];
    return this.over.length ? [...this.live, 'over'] : [...this.live];
  }

  getTreeItem(node: Node): vscode.TreeItem {
    if (node === 'over') {
      const item = new vscode.TreeItem('Finished and Cancelled', vscode.TreeItemCollapsibleState.Collapsed);
      return Object.assign(item, { id: node, description: String(this.over.length), tooltip: '' });
    }
    const { id, name, branch, type, state } = node;
    if (state === 'running') void this.measure(node);
    const told = branch.endsWith(name); // a branch that holds the name tells it too
    const changes = this.figures.get(id)?.changes;
    const counted = changes?.files ? `+${changes.insertions} −${changes.deletions}` : '';
    const description = [told ? '' : branch, age(node.createdAt), counted].filter(Boolean).join(' · ');
    const label = `${branch}, ${stateOf(node)}, ${description}`;
    return Object.assign(new vscode.TreeItem(told ? branch : name), {
      ...{ id, description, iconPath: iconOf(node), accessibilityInformation: { label } },
      contextValue: `session ${APPLIES[type][state].join(' ')}`,
    });
  }

  async resolveTreeItem(item: vscode.TreeItem, node: Node): Promise<vscode.TreeItem> {
    if (node === 'over') return item;
    await this.measure(node, true);
    return Object.assign(item, { tooltip: tooltip(node, this.figures.get(node.id)) });
  }

  dispose(): void {
    for (const one of [this.bar, this.view, this.stirred]) one.dispose();
  }

  private show(change: SessionsChanged | undefined): void {
    const { text, tooltip, severity } = change?.statusBar ?? this.silence();
    this.bar.text = `$(${{ ok: 'layers', attention: 'bell-dot', error: 'error' }[severity]}) ${text}`;
    this.bar.tooltip = tooltip;
    const color = { ok: '', attention: 'warning', error: 'error' }[severity];
    this.bar.backgroundColor = color ? new vscode.ThemeColor(`statusBarItem.${color}Background`) : undefined;
    const ids = (sessions: readonly Session[] = []): string => sessions.map(({ id }) => id).join();
    const others = !this.over.length || ids(this.live) !== ids(change?.sessions);
    this.live = change?.sessions ?? [];
    const waiting = this.live.filter((session) => stateOf(session) === 'waiting').length;
    this.view.badge = { value: waiting, tooltip: `${waiting} wait for you` };
    if (severity === 'error') this.over = []; // the view says what to do about it
    this.tell();
    this.para.log.info(`the indicator says ${text}`);
    if (!change) return;
    setContext('trouble', severity === 'error');
    if (others && severity !== 'error') void this.refresh().catch(() => undefined);
    for (const event of change.attention) this.call(event);
  }

  private silence(): SessionsChanged['statusBar'] {
    const { trouble } = this.para;
    if (trouble === undefined) return { text: 'Para', tooltip: 'The server is starting', severity: 'ok' };
    return { text: 'Para: no server', tooltip: `The server does not run: ${trouble}`, severity: 'error' };
  }

  /** Let everything that shows sessions look again. */
  private tell(): void {
    for (const verb of VERBS) {
      const able = [...this.live, ...this.over].some((session) => applies(verb, session));
      setContext(`can.${verb}`, able);
    }
    this.stirred.fire(undefined);
  }

  /** Ask what a session that shows has changed: once for each state of it, unless asked anew. */
  private async measure(node: Session, anew = false): Promise<void> {
    const state = [node.id, node.updatedAt, node.agent?.since].join();
    if (this.asked.has(state) && !anew) return;
    this.asked.add(state);
    const figures = await this.para.ask('para.stats', named(node)).catch(() => undefined);
    if (figures) this.figures.set(node.id, figures);
    if (!anew) this.stirred.fire(this.live.find(({ id }) => id === node.id));
  }

  private call({ reason, message, remedies }: Attention): void {
    const wanted = vscode.workspace.getConfiguration('para.editor').get<string>('notifications', 'all');
    if (wanted === 'none' || (wanted === 'waiting' && reason !== 'waiting')) return;
    void this.para.offer(reason === 'done' ? 'info' : 'warning', message, remedies);
  }
}

function tooltip(session: Session, figures: StatsResult | undefined): vscode.MarkdownString {
  const mib = (bytes: number): string => `${Math.round(bytes / 2 ** 20)} MiB`;
  const { agent, problem, prompt, repo, container } = session;
  const { cpu = null, memory = null, memoryLimit, changes } = figures ?? {};
  const rows = {
    State: agent ? `${session.state}; ${agent.name} is ${agent.state} ${agent.detail}` : session.state,
    Problem: problem?.message,
    Prompt: prompt.slice(0, 500),
    Repository: repo,
    Image: container?.image,
    CPU: cpu === null ? '' : `${cpu} %`,
    Memory: memory === null ? '' : `${mib(memory)}${memoryLimit ? ` of ${mib(memoryLimit)}` : ''}`,
    Changed: changes ? `${changes.files} files, +${changes.insertions} −${changes.deletions}` : '',
  };
  const text = new vscode.MarkdownString();
  for (const [title, told] of Object.entries(rows)) {
    // what sessions say is shown as text
    if (told?.trim()) text.appendMarkdown(`**${title}:** `).appendText(told.trim()).appendMarkdown('  \n');
  }
  return text;
}
