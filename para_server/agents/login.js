// Runs in a container with an agent's login, as `node -e`; arguments: a task and the agent's name.
// report: prints the state of the login as JSON, with the verdict of the agent's API.
// removeTraces: removes the files and ids that would make all containers of this login identifiable.
// The login itself never leaves the container, and is never an argument of a process.
const { execFileSync } = require('node:child_process')
const { existsSync, readFileSync, rmSync, writeFileSync } = require('node:fs')
const { homedir } = require('node:os')
const { join } = require('node:path')

const [, task, agent, ...traces] = process.argv
const env = process.env
const at = (...path) => join(homedir(), ...path)
const TIMEOUT_SECONDS = 15

function read(file) {
  try {
    return JSON.parse(readFileSync(file, 'utf8')) ?? {}
  } catch {
    return {}
  }
}

const logins = {
  claude() {
    const url = `${env.ANTHROPIC_BASE_URL || 'https://api.anthropic.com'}/v1/models?limit=1`
    const version = 'anthropic-version: 2023-06-01'
    const key = (value) => ({ url, headers: [version, `x-api-key: ${value}`] })
    const token = (value) => ({
      url,
      headers: [version, 'anthropic-beta: oauth-2025-04-20', `Authorization: Bearer ${value}`],
    })
    if (env.ANTHROPIC_AUTH_TOKEN) return token(env.ANTHROPIC_AUTH_TOKEN)
    if (env.ANTHROPIC_API_KEY) return key(env.ANTHROPIC_API_KEY)
    if (env.CLAUDE_CODE_OAUTH_TOKEN) return token(env.CLAUDE_CODE_OAUTH_TOKEN)
    const folder = env.CLAUDE_SECURESTORAGE_CONFIG_DIR || at('.claude')
    const stored = read(join(folder, '.credentials.json')).claudeAiOauth
    if (stored?.accessToken) {
      const { accessToken, expiresAt, refreshToken } = stored
      return { ...token(accessToken), expires: expiresAt, renews: Boolean(refreshToken) }
    }
    const { primaryApiKey } = read(at('.claude.json'))
    return primaryApiKey ? key(primaryApiKey) : null
  },

  codex() {
    const url = `${env.OPENAI_BASE_URL || 'https://api.openai.com/v1'}/models`
    const { OPENAI_API_KEY, tokens } = read(at('.codex', 'auth.json'))
    const key = env.CODEX_API_KEY || env.OPENAI_API_KEY || OPENAI_API_KEY
    if (key) return { url, headers: [`Authorization: Bearer ${key}`] }
    if (!tokens?.access_token) return null
    // a ChatGPT login is for another API, which has no request without side effects
    const claims = Buffer.from(tokens.access_token.split('.')[1] ?? '', 'base64url').toString()
    const expires = /"exp":\s*(\d+)/.exec(claims)
    return { expires: expires && expires[1] * 1000, renews: Boolean(tokens.refresh_token) }
  },

  gemini() {
    const base = env.GOOGLE_GEMINI_BASE_URL || 'https://generativelanguage.googleapis.com'
    if (env.GEMINI_API_KEY) {
      const headers = [`x-goog-api-key: ${env.GEMINI_API_KEY}`]
      return { url: `${base}/v1beta/models?pageSize=1`, headers }
    }
    const { access_token, expiry_date, refresh_token } = read(at('.gemini', 'oauth_creds.json'))
    return access_token ? { expires: expiry_date, renews: Boolean(refresh_token) } : null
  },

  opencode() {
    // OpenCode has any number of providers, each with its own API
    const hasKey = Object.keys(env).some((name) => /_API_KEY$/.test(name) && env[name])
    const stored = Object.keys(read(at('.local', 'share', 'opencode', 'auth.json'))).length > 0
    return hasKey || stored ? {} : null
  },
}

// uses curl, which supports proxies and certificates, and passes it the login on standard input
function verify({ url, headers }) {
  if (!url) return 'silent'
  const word = (text) => `"${text.replace(/[\r\n]/g, '').replace(/["\\]/g, '\\$&')}"`
  const input = [`url = ${word(url)}`, ...headers.map((line) => `header = ${word(line)}`)].join('\n')
  const options = ['-q', '-s', '--max-time', TIMEOUT_SECONDS, '-w', '\n%{http_code}', '--config', '-']
  let response
  try {
    response = execFileSync('curl', options, { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'ignore'] })
  } catch {
    return 'silent'
  }
  const code = response.slice(-3)
  if (/^2/.test(code)) return 'accepted'
  if (code === '401') return 'refused'
  if (/^40[03]$/.test(code) && /revoked|API_KEY_INVALID/.test(response)) return 'refused'
  return 'silent'
}

function report() {
  const login = logins[agent]?.()
  const result = { present: Boolean(login), verdict: 'silent', expiresAt: null, renews: false }
  if (login) {
    result.verdict = verify(login)
    result.renews = login.renews ?? false
    if (Number.isFinite(login.expires)) result.expiresAt = login.expires / 1000
  }
  console.log(JSON.stringify(result))
}

function removeTraces() {
  for (const path of traces) rmSync(at(path), { recursive: true, force: true })
  const file = at('.claude.json')
  if (!existsSync(file)) return
  const { machineID, userID, ...kept } = read(file)
  // without hasCompletedOnboarding, the agent would first ask for a colour theme
  writeFileSync(file, JSON.stringify({ ...kept, hasCompletedOnboarding: true }, null, 2))
}

;({ report, removeTraces })[task]()
