// node-zookeeper-client against a server: CONNECT PROXY CONTROL ALL. Prints one line per case, then the counts.
const zookeeper = require('node-zookeeper-client');
const net = require('net');
const [connect, proxy, control, all] = process.argv.slice(2);
const { CreateMode, Exception, Event, ACL, Permission, Id } = zookeeper;
let passed = 0;
let failed = 0;

function check(name, holds, why) {
  console.log(holds ? `ok ${name}` : `FAIL ${name}: ${why}`);
  if (holds) passed += 1; else failed += 1;
}

const call = (zk, name, ...args) => new Promise((resolve, reject) =>
  zk[name](...args, (error, ...results) => (error ? reject(error) : resolve(results))));

async function refused(name, code, promise) {
  try {
    await promise;
    check(name, false, 'it was not refused');
  } catch (error) {
    check(name, error.getCode && error.getCode() === code, error);
  }
}

function open(hosts, timeout = 10000) {
  return new Promise((resolve) => {
    const zk = zookeeper.createClient(hosts, { sessionTimeout: timeout, spinDelay: 100 });
    zk.once('connected', () => resolve(zk));
    zk.connect();
  });
}

const order = (letter) => new Promise((resolve) => {
  const socket = net.connect(Number(control.split(':')[1]), '127.0.0.1', () => socket.write(letter));
  socket.on('close', resolve);
  socket.resume();
});

// What is written at one server is read at each. This client has no sync; a write of its own to
// another node tells as much.
async function several() {
  const anywhere = await open(all);
  await call(anywhere, 'create', '/several', null);
  await call(anywhere, 'create', '/turn', null);
  const each = await Promise.all(all.split(',').map((host) => open(host)));
  for (const [number, writer] of each.entries()) {
    await call(writer, 'setData', '/several', Buffer.from(`by ${number}`), -1);
    let seen = true;
    for (const reader of each) {
      await call(reader, 'setData', '/turn', Buffer.from(''), -1);
      const [data] = await call(reader, 'getData', '/several');
      seen = seen && data.toString() === `by ${number}`;
    }
    check('written at one server, read at each', seen, number);
  }
  for (const zk of [anywhere, ...each]) zk.close();
}

async function main() {
  const zk = await open(connect);
  check('connect', zk.getSessionTimeout() === 10000, zk.getSessionTimeout());
  const [path] = await call(zk, 'create', '/n', Buffer.from('one'), CreateMode.PERSISTENT);
  check('create', path === '/n', path);
  await refused('create again', Exception.NODE_EXISTS, call(zk, 'create', '/n', Buffer.from('')));
  const [data, stat] = await call(zk, 'getData', '/n');
  check('get', data.toString() === 'one' && stat.version === 0, data);
  const [after] = await call(zk, 'setData', '/n', Buffer.from('two'), 0);
  check('set', after.version === 1, after);
  await refused('set of another version', Exception.BAD_VERSION, call(zk, 'setData', '/n', Buffer.from('x'), 7));
  const [sequential] = await call(zk, 'create', '/n/s-', null, CreateMode.PERSISTENT_SEQUENTIAL);
  check('sequential', sequential === '/n/s-0000000000', sequential);
  await call(zk, 'create', '/n/e', null, CreateMode.EPHEMERAL);
  await refused('child of an ephemeral', Exception.NO_CHILDREN_FOR_EPHEMERALS, call(zk, 'create', '/n/e/x', null));
  const [children] = await call(zk, 'getChildren', '/n');
  check('children', children.sort().join() === 'e,s-0000000000', children);
  const event = new Promise((resolve) => zk.getData('/n', resolve, () => {}));
  const born = new Promise((resolve) => zk.exists('/w', resolve, () => {}));
  const child = new Promise((resolve) => zk.getChildren('/n', resolve, () => {}));
  await call(zk, 'setData', '/n', Buffer.from('3'), -1);
  check('data event', (await event).getType() === Event.NODE_DATA_CHANGED, '');
  await call(zk, 'create', '/w', null);
  check('created event', (await born).getType() === Event.NODE_CREATED, '');
  await call(zk, 'remove', '/n/e', -1);
  check('child event', (await child).getType() === Event.NODE_CHILDREN_CHANGED, '');
  const commit = zk.transaction().create('/t', Buffer.from('1')).setData('/t', Buffer.from('2'), 0).check('/t', 1).remove('/t', 1);
  const [results] = await call(commit, 'commit');
  check('transaction', results.length === 4, results);
  await refused('transaction that fails', Exception.NO_NODE, call(zk.transaction().create('/u', null).remove('/absent', -1), 'commit'));
  const [nothing] = await call(zk, 'exists', '/u');
  check('nothing of it', nothing === null, nothing);
  zk.addAuthInfo('digest', Buffer.from('user:secret'));
  await call(zk, 'create', '/acl', null, [new ACL(Permission.ALL, new Id('auth', ''))], CreateMode.PERSISTENT);
  const other = await open(connect);
  await refused('who may not read', Exception.NO_AUTH, call(other, 'getData', '/acl'));
  other.close();
  const relayed = await open(proxy);
  await call(relayed, 'create', '/live', null, CreateMode.EPHEMERAL);
  const session = relayed.getSessionId().toString('hex');
  const again = new Promise((resolve) => relayed.once('connected', resolve));
  await order('c');
  await again;
  check('the same session', relayed.getSessionId().toString('hex') === session, '');
  const [live] = await call(zk, 'exists', '/live');
  check('ephemeral still there', live !== null, live);
  relayed.close();
  zk.close();
  await several();
}

main().catch((error) => check('to the end', false, error.stack || error)).finally(() => {
  console.log(`${passed} passed, ${failed} failed`);
  process.exit(failed ? 1 : 0);
});
