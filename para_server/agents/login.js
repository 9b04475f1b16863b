// Runs in a container with an agent's login, as `node -e`, with what to do and the agent's name.
// tell: says as JSON what login there is, and what the agent's API makes of it.
// forget: takes away what would give every container of this login the same identity.
// The login itself never leaves the container, and is in nobody's arguments.
const { execFileSync } = require('node:child_process')
const { existsSync, readFileSync, rmSync, writeFileSync } = require('node:fs')
const { homedir } = require('node:os')
const { join } = require('node:path')

const [, task, agent, ...litter] = process.argv
const env = process.env
const at = (...path) => join(homedir(), ...path)
const ANSWER_SECONDS = 15

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
    // a login of ChatGPT is for another API, which has no question that changes nothing
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
    // of any number of providers, each with an API of its own
    const named = Object.keys(env).some((name) => /_API_KEY$/.test(name) && env[name])
    const stored = Object.keys(read(at('.local', 'share', 'opencode', 'auth.json'))).length > 0
    return named || stored ? {} : null
  },
}

// curl, since it knows proxies and certificates; it reads its arguments where nobody sees them
function asked({ url, headers }) {
  if (!url) return 'silent'
  const word = (text) => `"${text.replace(/[\r\n]/g, '').replace(/["\\]/g, '\\$&')}"`
  const input = [`url = ${word(url)}`, ...headers.map((line) => `header = ${word(line)}`)].join('\n')
  const options = ['-q', '-s', '--max-time', ANSWER_SECONDS, '-w', '\n%{http_code}', '--config', '-']
  let answer
  try {
    answer = execFileSync('curl', options, { input, encoding: 'utf8', stdio: ['pipe', 'pipe', 'ignore'] })
  } catch {
    return 'silent'
  }
  const code = answer.slice(-3)
  if (/^2/.test(code)) return 'accepted'
  if (code === '401') return 'refused'
  if (/^40[03]$/.test(code) && /revoked|API_KEY_INVALID/.test(answer)) return 'refused'
  return 'silent'
}

function tell() {
  const found = logins[agent]?.()
  const told = { present: Boolean(found), verdict: 'silent', expiresAt: null, renews: false }
  if (found) {
    told.verdict = asked(found)
    told.renews = found.renews ?? false
    if (Number.isFinite(found.expires)) told.expiresAt = found.expires / 1000
  }
  console.log(JSON.stringify(told))
}

function forget() {
  for (const path of litter) rmSync(at(path), { recursive: true, force: true })
  const file = at('.claude.json')
  if (!existsSync(file)) return
  const { machineID, userID, ...kept } = read(file)
  // without the latter, the first thing that an agent meets is a choice of colours
  writeFileSync(file, JSON.stringify({ ...kept, hasCompletedOnboarding: true }, null, 2))
}

;({ tell, forget })[task]()
