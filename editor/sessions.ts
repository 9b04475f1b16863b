// The only place that shows sessions: the status bar, the view, and the calls for a person.
import { setTimeout as pause } from 'node:timers/promises';
import * as vscode from 'vscode';
import type { Para } from './client';
import { APPLIES, LOOKS, VERBS, type AgentState, type Session, type SessionsChanged, type State, type StatsResult, type Verb } from './generated/protocol';
import { plain } from './shown';

type Node = Session | 'over';
const APART = 2000; // milliseconds that two looks at what sessions have changed are apart
const MINUTE = 60_000; // in which ages are told
const OVER = new Set<string>(['finished', 'cancelled']);

/** Name a session's state in one word: its agent's, while it runs. */
export function stateOf({ state, agent }: Session): State | AgentState {
  return state === 'running' && agent ? agent.state : state;
}

/** Give the icon of a session's state. */
export function iconOf(session: Session): vscode.ThemeIcon {
  const [icon, color] = LOOKS[stateOf(session)];
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
  private live: readonly Session[] = [];
  private over: readonly Session[] = [];
  private looking = false;
  private stale = false;
  private readonly figures = new Map<string, StatsResult>();
  private readonly stirred = new vscode.EventEmitter<undefined>();
  readonly onDidChangeTreeData = this.stirred.event;
  private readonly bar = vscode.window.createStatusBarItem('para', vscode.StatusBarAlignment.Left, 10);
  private readonly clock = setInterval(() => void this.look(), MINUTE);
  private readonly view = vscode.window.createTreeView<Node>('para.sessions', { treeDataProvider: this });

  constructor(private readonly para: Para) {
    this.bar.name = 'Para';
    this.bar.command = 'para.ui.sessions';
    para.onChange((change) => this.show(change));
    this.view.onDidChangeVisibility(() => this.look());
  }

  /** Look again at everything that is not told by itself. */
  async refresh(): Promise<void> {
    const { sessions } = await this.para.ask('para.list', { all: true });
    this.over = sessions.filter(({ state }) => OVER.has(state)).reverse();
    this.tell();
    void this.look();
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
    const told = branch.endsWith(name); // a branch that holds the name tells it too
    const changes = this.figures.get(id)?.changes;
    const counted = changes?.files ? `+${changes.insertions} −${changes.deletions}` : '';
    const description = [told ? '' : plain(branch), age(node.createdAt), counted].filter(Boolean).join(' · ');
    const label = `${plain(branch)}, ${stateOf(node)}, ${description}`;
    return Object.assign(new vscode.TreeItem(plain(told ? branch : name)), {
      ...{ id, description, iconPath: iconOf(node), accessibilityInformation: { label } },
      contextValue: `session ${APPLIES[type][state].join(' ')}`,
    });
  }

  async resolveTreeItem(item: vscode.TreeItem, node: Node): Promise<vscode.TreeItem> {
    if (node === 'over') return item;
    await this.measure(node, true);
    return Object.assign(item, { tooltip: plain(this.figures.get(node.id)?.tooltip ?? '') });
  }

  dispose(): void {
    clearInterval(this.clock);
    for (const one of [this.bar, this.view, this.stirred]) one.dispose();
  }

  private show({ sessions, statusBar: { text, tooltip, severity }, attention }: SessionsChanged): void {
    this.bar.text = `$(${{ ok: 'layers', attention: 'bell-dot', error: 'error' }[severity]}) ${plain(text)}`;
    this.bar.tooltip = plain(tooltip);
    const color = { ok: '', attention: 'warning', error: 'error' }[severity];
    this.bar.backgroundColor = color ? new vscode.ThemeColor(`statusBarItem.${color}Background`) : undefined;
    this.bar.show();
    this.live = sessions;
    const waiting = sessions.filter((session) => stateOf(session) === 'waiting').length;
    this.view.badge = { value: waiting, tooltip: `${waiting} wait for you` };
    setContext('connected', !this.para.trouble);
    setContext('trouble', severity === 'error');
    if (severity === 'error') this.over = []; // the view says what to do about it
    else if (!this.para.trouble) void this.refresh().catch(() => undefined);
    this.tell();
    const wanted = vscode.workspace.getConfiguration('para.editor').get('notifications', 'all');
    if (!vscode.workspace.workspaceFolders?.length) return; // nothing that is open here calls
    for (const { reason, message, remedies } of attention) {
      if (wanted !== 'all' && wanted !== reason) continue;
      void this.para.offer(reason === 'done' ? 'info' : 'warning', message, remedies);
    }
  }

  /** Let everything that shows sessions look again. */
  private tell(): void {
    for (const verb of VERBS) {
      setContext(`can.${verb}`, [...this.live, ...this.over].some((session) => applies(verb, session)));
    }
    this.stirred.fire(undefined);
  }

  /** Look at what sessions have changed, one by one, while somebody can see it. */
  private async look(): Promise<void> {
    this.stale = true;
    if (this.looking) return;
    this.looking = true;
    while (this.stale && this.view.visible) {
      this.stale = false;
      for (const session of this.live) if (session.state === 'running') await this.measure(session, false);
      this.stirred.fire(undefined);
      await pause(APART);
    }
    this.looking = false;
  }

  private async measure(session: Session, load: boolean): Promise<void> {
    const figures = await this.para.ask('para.stats', { ...named(session), load }).catch(() => undefined);
    if (figures) this.figures.set(session.id, figures);
  }
}

/** Let `when` clauses know. */
function setContext(key: string, value: boolean): void {
  void vscode.commands.executeCommand('setContext', `para.${key}`, value);
}
