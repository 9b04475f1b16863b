// Show the sessions: status bar item, view and notifications.
import { setTimeout as pause } from 'node:timers/promises';
import * as vscode from 'vscode';
import type { Para } from './client';
import { VERBS_BY_STATE, STATE_ICONS, VERBS, type AgentState, type Session, type SessionsChanged, type State, type StatsResult, type Verb } from './generated/protocol';
import { sanitize } from './display';

type TreeNode = Session | 'over';
const MEASURE_INTERVAL = 2000; // milliseconds between measurements of the changes
const MINUTE = 60_000
const ENDED_STATES = new Set<string>(['finished', 'cancelled']);

/** Return a session's state, or its agent's while it runs. */
export function getState({ state, agent }: Session): State | AgentState {
  return state === 'running' && agent ? agent.state : state;
}

/** Return the icon of a session's state. */
export function getIcon(session: Session): vscode.ThemeIcon {
  const [icon, color] = STATE_ICONS[getState(session)];
  return new vscode.ThemeIcon(icon, color ? new vscode.ThemeColor(color) : undefined);
}

/** Return whether a verb applies to a session, from the server's table. */
export function isApplicable(verb: Verb | '', session: Session): boolean {
  return verb === '' || VERBS_BY_STATE[session.type][session.state].includes(verb);
}

/** Return the params that identify a session. */
export function toParams({ name, repo }: Session): { name: string; repo: string } {
  return { name, repo };
}

/** Return the time since a moment, in one unit. */
export function formatAge(since: string): string {
  const minutes = Math.floor((Date.now() - Date.parse(since)) / 60_000);
  if (minutes < 60) return minutes > 0 ? `${minutes} min` : 'now';
  return minutes < 48 * 60 ? `${Math.floor(minutes / 60)} h` : `${Math.floor(minutes / 1440)} d`;
}

/** The sessions of the server, and the parts of the window that show them. */
export class SessionsView implements vscode.TreeDataProvider<TreeNode>, vscode.Disposable {
  private active: readonly Session[] = [];
  private ended: readonly Session[] = [];
  private measuring = false;
  private stale = false;
  private readonly stats = new Map<string, StatsResult>();
  private readonly treeChanged = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.treeChanged.event;
  private readonly bar = vscode.window.createStatusBarItem('para', vscode.StatusBarAlignment.Left, 10);
  private readonly timer = setInterval(() => void this.measureAll(), MINUTE);
  private readonly view = vscode.window.createTreeView<TreeNode>('para.sessions', { treeDataProvider: this });

  constructor(private readonly para: Para) {
    this.bar.name = 'Para';
    this.bar.command = 'para.ui.sessions';
    para.onChange((change) => this.update(change));
    this.view.onDidChangeVisibility(() => this.measureAll());
  }

  /** Reload what the server sends no notifications of: ended sessions and changes. */
  async refresh(): Promise<void> {
    const { sessions } = await this.para.request('para.list', { all: true });
    this.ended = sessions.filter(({ state }) => ENDED_STATES.has(state)).reverse();
    this.updateViews();
    void this.measureAll();
  }

  getChildren(node?: TreeNode): TreeNode[] {
    if (node) return node === 'over' ? [...this.ended] : [];
    return this.ended.length ? [...this.active, 'over'] : [...this.active];
  }

  getTreeItem(node: TreeNode): vscode.TreeItem {
    if (node === 'over') {
      const item = new vscode.TreeItem('Finished and Cancelled', vscode.TreeItemCollapsibleState.Collapsed);
      return Object.assign(item, { id: node, description: String(this.ended.length), tooltip: '' });
    }
    const { id, name, branch, type, state } = node;
    const hasName = branch.endsWith(name); // the branch is enough then
    const changes = this.stats.get(id)?.changes;
    const counted = changes?.files ? `+${changes.insertions} −${changes.deletions}` : '';
    const description = [hasName ? '' : sanitize(branch), formatAge(node.createdAt), counted].filter(Boolean).join(' · ');
    const label = `${sanitize(branch)}, ${getState(node)}, ${description}`;
    return Object.assign(new vscode.TreeItem(sanitize(hasName ? branch : name)), {
      ...{ id, description, iconPath: getIcon(node), accessibilityInformation: { label } },
      contextValue: `session ${VERBS_BY_STATE[type][state].join(' ')}`,
    });
  }

  async resolveTreeItem(item: vscode.TreeItem, node: TreeNode): Promise<vscode.TreeItem> {
    if (node === 'over') return item;
    await this.measure(node, true);
    return Object.assign(item, { tooltip: sanitize(this.stats.get(node.id)?.tooltip ?? '') });
  }

  dispose(): void {
    clearInterval(this.timer);
    for (const one of [this.bar, this.view, this.treeChanged]) one.dispose();
  }

  private update({ sessions, statusBar: { text, tooltip, severity }, attention }: SessionsChanged): void {
    this.bar.text = `$(${{ ok: 'layers', attention: 'bell-dot', error: 'error' }[severity]}) ${sanitize(text)}`;
    this.bar.tooltip = sanitize(tooltip);
    const color = { ok: '', attention: 'warning', error: 'error' }[severity];
    this.bar.backgroundColor = color ? new vscode.ThemeColor(`statusBarItem.${color}Background`) : undefined;
    this.bar.show();
    this.active = sessions;
    const waiting = sessions.filter((session) => getState(session) === 'waiting').length;
    this.view.badge = { value: waiting, tooltip: `${waiting} waiting for you` };
    setContext('connected', !this.para.unavailable);
    setContext('trouble', severity === 'error');
    if (severity === 'error') this.ended = []; // the view shows the remedies instead
    else if (!this.para.unavailable) void this.refresh().catch(() => undefined);
    this.updateViews();
    const notifications = vscode.workspace.getConfiguration('para.editor').get('notifications', 'all');
    if (!vscode.workspace.workspaceFolders?.length) return; // no notifications without a repository
    for (const { reason, message, remedies } of attention) {
      if (notifications !== 'all' && notifications !== reason) continue;
      void this.para.showActions(reason === 'done' ? 'info' : 'warning', message, remedies);
    }
  }

  /** Update the view and the context keys. */
  private updateViews(): void {
    for (const verb of VERBS) {
      setContext(`can.${verb}`, [...this.active, ...this.ended].some((session) => isApplicable(verb, session)));
    }
    this.treeChanged.fire(undefined);
  }

  /** Measure the running sessions one by one, repeatedly while the view is visible. */
  private async measureAll(): Promise<void> {
    this.stale = true;
    if (this.measuring) return;
    this.measuring = true;
    while (this.stale && this.view.visible) {
      this.stale = false;
      for (const session of this.active) if (session.state === 'running') await this.measure(session, false);
      this.treeChanged.fire(undefined);
      await pause(MEASURE_INTERVAL);
    }
    this.measuring = false;
  }

  private async measure(session: Session, load: boolean): Promise<void> {
    const result = await this.para.request('para.stats', { ...toParams(session), load }).catch(() => undefined);
    if (result) this.stats.set(session.id, result);
  }
}

/** Set a context key for `when` clauses. */
function setContext(key: string, value: boolean): void {
  void vscode.commands.executeCommand('setContext', `para.${key}`, value);
}
