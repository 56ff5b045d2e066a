// The official ClickHouse client against the embedded engine: what users of the client do, each with what must come back.
// In: CLICKHOUSE_URL, CLICKHOUSE_PASSWORD. Out: exit code 0, or the failed assertion.
import assert from 'node:assert/strict'
import { readdirSync, readFileSync } from 'node:fs'
import { ClickHouseLogLevel, createClient } from '@clickhouse/client'

const settings = { url: process.env.CLICKHOUSE_URL, username: 'default', password: process.env.CLICKHOUSE_PASSWORD, log: { level: ClickHouseLogLevel.OFF } }

async function rows(client, query, format = 'JSONEachRow', more = {}) {
  const answer = await client.query({ query, format, ...more })
  return await answer.json()
}

async function everything(name, compression) {
  const client = createClient({ ...settings, compression })
  assert.equal((await client.ping()).success, true)
  assert.equal((await client.ping({ select: true })).success, true)

  assert.deepEqual(await rows(client, 'SELECT number AS n FROM numbers(3)'), [{ n: 0 }, { n: 1 }, { n: 2 }].map((row) => ({ n: row.n })))
  const whole = await rows(client, "SELECT 'a' AS x", 'JSON')
  assert.deepEqual([whole.data, whole.rows, whole.meta], [[{ x: 'a' }], 1, [{ name: 'x', type: 'String' }]])

  const table = `t_${name}`
  await client.command({ query: `CREATE TABLE ${table} (id UInt32, name String, at DateTime64(3, 'UTC')) ENGINE = MergeTree ORDER BY id` })
  const inserted = await client.insert({
    table,
    values: [{ id: 1, name: "it's; -- fine", at: '2026-11-21 10:00:00.123' }, { id: 2, name: 'tab\tline\nend', at: '2026-11-21 10:00:01.000' }],
    format: 'JSONEachRow',
  })
  assert.equal(inserted.executed, true)
  assert.equal(inserted.summary?.written_rows, '2')
  await client.insert({ table, values: [[3, 'compact', '2026-11-21 10:00:02.000']], format: 'JSONCompactEachRow', columns: ['id', 'name', 'at'] })
  assert.deepEqual(await rows(client, `SELECT id, name, toString(at) AS at FROM ${table} ORDER BY id`), [
    { id: 1, name: "it's; -- fine", at: '2026-11-21 10:00:00.123' },
    { id: 2, name: 'tab\tline\nend', at: '2026-11-21 10:00:01.000' },
    { id: 3, name: 'compact', at: '2026-11-21 10:00:02.000' },
  ])

  const query_params = { id: 2, names: ['a', "b'c"], when: new Date('2026-11-21T10:00:00Z'), none: null, text: 'tab\there' }
  const [bound] = await rows(
    client,
    'SELECT {id:UInt32} AS id, {names:Array(String)} AS names, toUnixTimestamp({when:DateTime}) AS at, {none:Nullable(String)} AS none, {text:String} AS text',
    'JSONEachRow',
    { query_params },
  )
  assert.deepEqual(bound, { id: 2, names: ['a', "b'c"], at: 1795255200, none: null, text: 'tab\there' })

  const named = await client.query({ query: 'SELECT 1', format: 'JSONEachRow', query_id: `my-${name}` })
  assert.equal(named.query_id, `my-${name}`)
  await named.text()
  const settingsSeen = await rows(client, "SELECT getSetting('max_threads') AS n", 'JSONEachRow', { clickhouse_settings: { max_threads: 1 } })
  assert.equal(Number(settingsSeen[0].n), 1)

  await assert.rejects(rows(client, 'SELECT * FROM nothing_here'), (error) => error.code === '60' && error.type === 'UNKNOWN_TABLE')
  await assert.rejects(rows(client, 'SELEKT 1'), (error) => error.code === '62')
  await assert.rejects(
    client.insert({ table, values: [{ id: 'x' }], format: 'JSONEachRow' }),
    (error) => error.code !== undefined && /Cannot parse/.test(error.message),
  )

  const stream = await client.query({ query: "SELECT number AS n, repeat('x', 100) AS s FROM numbers(200000)", format: 'JSONEachRow' })
  let seen = 0
  for await (const batch of stream.stream()) seen += batch.length
  assert.equal(seen, 200000)

  const failing = await client.query({
    query: "SELECT throwIf(number = 500000) AS n, repeat('x', 100) AS s FROM numbers(1000000)",
    format: 'JSONEachRow',
    clickhouse_settings: { max_block_size: '10000', max_threads: 1 },
  })
  await assert.rejects(
    (async () => {
      for await (const batch of failing.stream()) seen += batch.length
    })(),
    (error) => {
      assert.match(String(error.message), /throwIf/, `an error in mid-stream is told as what it is, not as: ${error.stack}`)
      return true
    },
  )
  await client.command({ query: `CREATE DATABASE migrated_${name}` })
  await client.close()
  await migrate(createClient({ ...settings, compression, database: `migrated_${name}` }))
}

// Every statement of the migrations, and every table and view that they make, read.
async function migrate(client) {
  const folder = new URL('../../../schemas/clickhouse/', import.meta.url)
  for (const file of readdirSync(folder).filter((file) => file.endsWith('.sql')).sort()) {
    const statements = readFileSync(new URL(file, folder), 'utf8').split(';\n')
    for (const query of statements.filter((statement) => statement.trim() !== '')) await client.command({ query })
  }
  const tables = await rows(client, 'SELECT name FROM system.tables WHERE database = currentDatabase()')
  assert.ok(tables.length > 5, JSON.stringify(tables))
  for (const { name } of tables) await rows(client, `SELECT * FROM ${name}`)
  await client.close()
}

await everything('plain', { request: false, response: false })
await everything('packed', { request: true, response: true })

const stranger = createClient({ ...settings, password: 'wrong' })
await assert.rejects(rows(stranger, 'SELECT 1'), (error) => error.code === '516')
await stranger.close()
console.log('all as expected')
