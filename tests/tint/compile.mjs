// Compiles WGSL with Tint, the compiler of Chromium's WebGPU: the npm package "webgpu" is Dawn for node.
//   node compile.mjs FOLDER-WITH-node_modules FILE.json
// The file is an array of { name, wgsl, features, constants }: features as WebGPU calls them, constants an array of sets of
// values for the shader's `override` constants. Each set becomes a pipeline, on Dawn's device that runs nothing and has all
// features; where a Vulkan driver is found that Dawn takes, such as SwiftShader, the first set there too.
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

const [folder, file] = process.argv.slice(2);
const { create, globals } = await import(pathToFileURL(join(resolve(folder), 'node_modules/webgpu/index.js')));
Object.assign(globalThis, globals);
const shaders = JSON.parse(readFileSync(file, 'utf8'));
if (shaders.length === 0) throw new Error(`${file}: no shaders`);

let failures = 0;
function fail(name, message) {
  failures += 1;
  console.error(`${name}: ${message}`);
}

// What is wrong with a shader that is not valid, to know that errors are seen.
const BROKEN = '@compute @workgroup_size(1) fn main() { let x: u32 = 1.0; }';

async function errors(module) {
  const { messages } = await module.getCompilationInfo();
  return messages.filter((m) => m.type === 'error').map((m) => `line ${m.lineNum}: ${m.message}`);
}

// Dawn is torn down with the object that `create` made, whatever still uses it.
const dawns = [];

async function compileOn(backend, sets) {
  const dawn = create([`backend=${backend}`]);
  dawns.push(dawn);
  const adapter = await dawn.requestAdapter();
  if (!adapter) return false;
  const wanted = [...new Set(shaders.flatMap((shader) => shader.features))];
  const device = await adapter.requestDevice({
    requiredFeatures: wanted.filter((feature) => adapter.features.has(feature)),
    requiredLimits: {
      maxStorageBuffersPerShaderStage: adapter.limits.maxStorageBuffersPerShaderStage,
      maxComputeWorkgroupStorageSize: adapter.limits.maxComputeWorkgroupStorageSize,
    },
  });
  device.onuncapturederror = (event) => fail(backend, event.error.message);
  device.pushErrorScope('validation');
  if ((await errors(device.createShaderModule({ code: BROKEN }))).length === 0) fail(backend, 'accepts a broken shader');
  await device.popErrorScope();
  const limit = device.limits.maxStorageBuffersPerShaderStage;
  let [texts, pipelines, lacking] = [0, 0, 0];
  for (const { name, wgsl, features, buffers, constants } of shaders) {
    if (!features.every((feature) => device.features.has(feature))) {
      lacking += 1;
      continue;
    }
    device.pushErrorScope('validation');
    const module = device.createShaderModule({ label: name, code: wgsl });
    const found = await errors(module);
    await device.popErrorScope();
    found.forEach((message) => fail(name, message));
    texts += 1;
    // What stands beside a product needs more buffers than WebGPU grants everywhere.
    for (const values of found.length > 0 || buffers > limit ? [] : constants.slice(0, sets)) {
      device.pushErrorScope('validation');
      device.createComputePipeline({ layout: 'auto', compute: { module, entryPoint: 'main', constants: values } });
      const error = await device.popErrorScope();
      if (error) fail(`${name} ${JSON.stringify(values)}`, error.message);
      pipelines += 1;
    }
  }
  const on = adapter.info.description || 'no device';
  console.log(`Tint on ${on}: ${texts} texts, ${pipelines} pipelines, ${lacking} texts need what it lacks`);
  if (backend === 'null' && lacking > 0) fail(backend, `${lacking} texts need features that it does not have`);
  return true;
}

if (!(await compileOn('null', Infinity))) fail('null', 'Dawn has no such device');
if (!(await compileOn('vulkan', 1))) console.log('Tint for Vulkan: no driver that Dawn takes');
if (failures > 0) console.error(`${failures} failures`);
process.exit(failures > 0 ? 1 : 0);
