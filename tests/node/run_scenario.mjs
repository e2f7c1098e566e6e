// Runs the steps of a scenario with the stock Node client and writes the results to a file.
//
//     node run_scenario.mjs SCENARIO.json RESULTS.json
//
// The same steps as in tests/python/scenario_runner.py, with the same results: integers of 64 bits
// stay the texts that this client makes of them, and the test turns them into numbers.

import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';

// The client is installed outside the checkout, where PANDION_NODE_CLIENT says.
const require = createRequire(`${process.env.PANDION_NODE_CLIENT}/`);
const { MilvusClient } = require('@zilliz/milvus2-sdk-node');

const PK = '__virtual_pk__';
const PAUSE_MS = 20;
const PAUSES_MAX = 3000;

/** An answer of the server that says no. */
class Refusal extends Error {}

/** The answer, unless its status says no. */
function good(answer) {
  const status = answer.status ?? answer;
  if (status.error_code !== undefined && status.error_code !== 'Success') {
    throw new Refusal(status.reason);
  }
  return answer;
}

function data(vectors) {
  return vectors.map(v => (typeof v === 'string' ? [...Buffer.from(v, 'hex')] : v));
}

function plain(row, output) {
  return Object.fromEntries(output.map(field => [field, row[field] ?? null]));
}

function hitOf(hit, step) {
  return { score: hit.score, ...plain(hit, step.output) };
}

/** The client gives the hits of a single query without the list around them. */
function hitsOf(results, queries, step) {
  const lists = queries === 1 ? [results] : results;
  const padded = lists.length ? lists : Array.from({ length: queries }, () => []);
  return padded.map(hits => hits.map(hit => hitOf(hit, step)));
}

async function keysOf(client, collection_name, ids) {
  const answer = good(
    await client.query({ collection_name, expr: `id in [${ids}]`, output_fields: ['id'] })
  );
  const keys = new Map(answer.data.map(row => [Number(row.id), row[PK]]));
  return ids.map(id => keys.get(id));
}

async function pages(iterator, each) {
  const found = [];
  for await (const page of iterator) {
    found.push(page.map(each));
  }
  return found;
}

const STEPS = {
  async create(client, collection_name, _step, scenario) {
    const fields = scenario.fields.map(({ name, type, element_type, ...options }) => ({
      name,
      data_type: scenario.types[type],
      external_field: name,
      ...(element_type ? { element_type: scenario.types[element_type] } : {}),
      ...options,
    }));
    const source = { external_source: scenario.source, external_spec: scenario.spec };
    good(await client.createCollection({ collection_name, fields, ...source }));
    return 'created';
  },

  async index(client, collection_name, { field, index_type, metric_type, name, params }) {
    // Parameters of a scalar index go flat, as the Python client sends them.
    const extra_params = { ...params };
    const index_name = name ?? field;
    const request = { collection_name, field_name: field, index_name, index_type };
    good(await client.createIndex({ ...request, metric_type, extra_params }));
    // This client does not wait for the index.
    for (let pause = 0; pause < PAUSES_MAX; pause++) {
      const answer = good(await client.describeIndex({ collection_name, index_name }));
      if (answer.index_descriptions.every(({ state }) => state === 'Finished')) break;
      await new Promise(resolve => setTimeout(resolve, PAUSE_MS));
    }
    return 'created';
  },

  async drop_index(client, collection_name, { name }) {
    good(await client.dropIndex({ collection_name, index_name: name }));
    return 'dropped';
  },

  async describe_index(client, collection_name, { name }) {
    const answer = await client.describeIndex({ collection_name, index_name: name });
    if (answer.status.code === 700) return null;
    const [described] = good(answer).index_descriptions;
    const of = key => described.params.find(pair => pair.key === key)?.value;
    const { field_name, index_name, state } = described;
    const { total_rows, indexed_rows, pending_index_rows } = described;
    return {
      field_name,
      index_name,
      index_type: of('index_type'),
      total_rows,
      indexed_rows,
      pending_index_rows,
      state,
    };
  },

  async refresh(client, collection_name) {
    const { job_id } = good(await client.refreshExternalCollection({ collection_name }));
    let job;
    for (let pause = 0; pause < PAUSES_MAX; pause++) {
      job = good(await client.getRefreshExternalCollectionProgress({ job_id })).job_info;
      if (['RefreshCompleted', 'RefreshFailed'].includes(job.state)) break;
      await new Promise(resolve => setTimeout(resolve, PAUSE_MS));
    }
    return { state: job.state, progress: job.progress };
  },

  async load(client, collection_name) {
    good(await client.loadCollection({ collection_name }));
    return 'loaded';
  },

  async count(client, collection_name, { filter }) {
    return good(await client.count({ collection_name, expr: filter })).data;
  },

  async query(client, collection_name, step) {
    const { filter: expr, output: output_fields, values, limit, offset } = step;
    const request = { collection_name, expr, output_fields, limit, offset };
    if (values) request.exprValues = values;
    if (step.order_by) request.order_by_fields = step.order_by.map(([f, way]) => `${f}:${way}`);
    if (step.aggregate) request.group_by_fields = step.aggregate;
    return good(await client.query(request)).data.map(row => plain(row, output_fields));
  },

  async get(client, collection_name, { ids, output }) {
    const keys = await keysOf(client, collection_name, ids);
    const answer = await client.get({ collection_name, ids: keys, output_fields: output });
    return good(answer).data.map(row => plain(row, output));
  },

  async search(client, collection_name, step) {
    const { field: anns_field, limit, offset, filter: expr, values, output: output_fields } = step;
    const request = { collection_name, anns_field, limit, offset, expr, output_fields };
    if (step.ids) request.ids = await keysOf(client, collection_name, step.ids);
    else request.data = data(step.vectors);
    if (values) request.exprValues = values;
    if (step.range) request.params = step.range;
    if (step.order_by) {
      request.order_by_fields = step.order_by.map(([field, order]) => ({ field, order }));
    }
    if (step.group_by) request.group_by_field = step.group_by;
    if (step.group_size) request.group_size = step.group_size;
    if (step.strict) request.strict_group_size = step.strict;
    const answer = good(await client.search(request));
    return hitsOf(answer.results, (step.ids ?? step.vectors).length, step);
  },

  async hybrid(client, collection_name, step) {
    const parts = step.parts.map(({ field: anns_field, vectors, limit, filter: expr }) => ({
      anns_field,
      data: data(vectors)[0],
      limit,
      ...(expr ? { expr } : {}),
    }));
    const { limit, offset, ranker: rerank, output: output_fields } = step;
    const request = { collection_name, data: parts, limit, offset, rerank, output_fields };
    const answer = good(await client.hybridSearch(request));
    return hitsOf(answer.results, 1, step);
  },

  async query_iterator(client, collection_name, step) {
    const { filter: expr, limit, batch_size: batchSize, output: output_fields } = step;
    const request = { collection_name, expr, limit, batchSize, output_fields };
    return pages(await client.queryIterator(request), row => plain(row, output_fields));
  },

  async search_iterator(client, collection_name, step) {
    const { field: anns_field, filter: expr, limit, batch_size: batchSize, output } = step;
    const request = { collection_name, anns_field, expr, limit, batchSize, output_fields: output };
    request.data = data(step.vectors)[0];
    return pages(await client.searchIterator(request), hit => hitOf(hit, step));
  },
};

async function main() {
  const scenario = JSON.parse(readFileSync(process.argv[2], 'utf8'));
  const client = new MilvusClient({ address: scenario.address, timeout: 30_000 });
  await client.connectPromise;
  const results = [];
  for (const step of scenario.steps) {
    try {
      results.push(await STEPS[step.do](client, scenario.collection, step, scenario));
    } catch (error) {
      if (!(error instanceof Refusal)) error.message = `${JSON.stringify(step)}: ${error.message}`;
      // What the client itself makes of a refusal is an error without a class of its own.
      results.push({ error: error.message });
    }
  }
  await client.closeConnection();
  writeFileSync(process.argv[3], JSON.stringify(results));
}

await main();
