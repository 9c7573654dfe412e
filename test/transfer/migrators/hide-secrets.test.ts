import test from 'ava'
import { HIDDEN, hideSecrets } from '../../../transfer/migrators/hide-secrets.ts'

const SECRETS: readonly string[] = [
  'DB_PASSWORD=hunter2',
  'export S3_SECRET_KEY="hunter2 and more"',
  '  password: hunter2',
  '- token: hunter2',
  '{"a": 1, "api_key": "hunter2", "b": 2}',
  '{"user":{"passwords":["x hunter2"]}}',
  'requirepass hunter2',
  'Environment="A=1" "DB_PASSWORD=hunter2"',
  'ExecStart=/usr/bin/app --db-password hunter2 --port 80',
  'proxy_set_header Authorization "Basic hunter2";',
  'add_header: Authorization: Bearer hunter2',
  'DATABASE_URL=postgres://app:hunter2@db:5432/app',
  'url = "https://example.org/?token=hunter2&x=1"',
  '-----BEGIN OPENSSH PRIVATE KEY-----\nhunter2\n-----END OPENSSH PRIVATE KEY-----',
  'password: |\n  hunter2\n  hunter2',
  'passwords:\n- hunter2\n- hunter2',
  'secret = """\nhunter2\n"""',
  'PASSWORD="hunter2\nhunter2"',
  '"credentials": {\n  "user": "hunter2"\n}',
  'aws_access_key_id = hunter2',
]
for (const text of SECRETS) {
  test(`hideSecrets() hides what ${JSON.stringify(text)} holds`, (t) => {
    const shown = hideSecrets(text).join('\n')
    t.false(shown.includes('hunter2'), shown)
    t.true(shown.includes(HIDDEN), shown)
    t.is(shown.split('\n').length, text.split('\n').length)
  })
}

const SHOWN: readonly string[] = [
  'PORT=8080',
  'proxy_pass http://10.0.0.1:8080;',
  'server: example.org',
  'endpoint: https://s3.example.org',
  'a: 1\n\npassword:\nb: 2',
]
for (const text of SHOWN) {
  test(`hideSecrets() shows ${JSON.stringify(text)} as it is`, (t) => {
    t.is(hideSecrets(text).join('\n'), text)
  })
}

test('hideSecrets() shows what follows a secret', (t) => {
  const text =
    'password: |\n  hunter2\nname: a\n-----BEGIN RSA PRIVATE KEY-----\nx\n-----END RSA PRIVATE KEY-----\nb: 1'
  const shown = hideSecrets(text)
  t.is(shown[2], 'name: a')
  t.is(shown.at(-1), 'b: 1')
})

test('hideSecrets() leaves nothing a terminal obeys', (t) => {
  t.deepEqual(hideSecrets('a\x1b[2Jb\u202ec'), ['a\\u{1b}[2Jb\\u{202e}c'])
})

test('hideSecrets() takes no longer for lines made to be slow', (t) => {
  for (const unit of ['pass', 'a=', ' ', 'x-', '"a=', 'a://b:', 'pass="', "pass='\\"]) {
    const text = `${unit.repeat(Math.floor(4000 / unit.length))}\n`.repeat(260)
    const begun = process.cpuUsage()
    hideSecrets(text)
    t.true(process.cpuUsage(begun).user < 5_000_000, unit)
  }
})
