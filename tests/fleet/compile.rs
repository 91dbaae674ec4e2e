//! Compiling everything for the GPU that the environment says, with the layer beside it.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;
use std::sync::Arc;
use std::time::Instant;

use lapidary::gpu::{Gpu, Kind};
use lapidary::testing::gpu::{PipelineKey, specialize};
use lapidary::testing::kernels::source;
use serde_json::Value;
use wgpu::naga::AddressSpace;

use super::keys::{Keys, kernel, others, planned};
use super::results::{Compiled, Results};

/// The file that the layer writes.
const STATISTICS: &str = "FLEET_STATISTICS";

/// Compiles what all presets make of the device, with its own table and with that of unknown devices.
pub(crate) fn all(gpu_name: &str) -> Results {
    let gpu = open();
    let (table, tables) = tables(&gpu);
    let mut compiler = Compiler::new(gpu);
    let mut pipelines: BTreeMap<String, Compiled> = BTreeMap::new();
    for (table, keys) in tables {
        for (name, used) in keys {
            let one =
                pipelines.entry(name.clone()).or_insert_with(|| compiler.compile(&name, &used.key, &source(&used.key)));
            one.decodes.insert(table.clone(), used.decodes);
        }
    }
    compiler.results(gpu_name, table, pipelines.into_values().collect())
}

/// Compiles one kernel of the project, made to hold more values than any GPU has registers: what a comparison must catch.
pub(crate) fn spilling(gpu_name: &str) -> Results {
    let gpu = open();
    let (table, tables) = tables(&gpu);
    let (name, used) = tables[0].1.iter().find(|(_, used)| used.key.stem == "gelu_mul").expect("every model has one");
    let wgsl = source(&used.key);
    let (head, body) = wgsl.rsplit_once("fn main").expect("an entry point");
    let (arguments, body) = body.split_once('{').expect("a body");
    // 640 values of a lane, each of which the next round of all others needs.
    let each = |line: &dyn Fn(usize) -> String| (0..160).map(line).collect::<String>();
    let load = each(&|i| format!("var held{i} = vec4<f32>(y[{i}u], y[{i}u + lane], gate[{i}u], gate[{i}u + lane]);"));
    let step = each(&|i| format!("held{i} = fma(held{i}, held{}, held{});", (i + 1) % 160, (i + 77) % 160));
    let store = each(&|i| format!("y[{i}u] += held{i}.x + held{i}.y + held{i}.z + held{i}.w;"));
    let many = format!("{load} for (var k = 0u; k < params.width; k++) {{ {step} }} {store}");
    let wgsl = format!("{head}fn main{arguments}{{{many}{body}");
    let mut compiler = Compiler::new(gpu);
    let mut one = compiler.compile(name, &used.key, &wgsl);
    one.decodes.insert(table.clone(), used.decodes);
    compiler.results(gpu_name, table, vec![one])
}

fn open() -> Gpu {
    Gpu::open(None).unwrap_or_else(|e| panic!("no device: {e}"))
}

/// The name of the device's own table; by tables' names, what is made with each, its own first.
fn tables(gpu: &Gpu) -> (String, Vec<(String, Keys)>) {
    let own = gpu.kind();
    let keys = |kind: Kind| {
        let keys = planned(&Arc::new(open().with_kind(kind)), None);
        let more = others(&keys);
        (kind.name().to_owned(), keys.into_iter().chain(more).collect())
    };
    let mut kinds = vec![own, Kind::Unknown];
    kinds.dedup();
    (own.name().to_owned(), kinds.into_iter().map(keys).collect())
}

struct Compiler {
    gpu: Gpu,
    statistics: File,
}

impl Compiler {
    fn new(gpu: Gpu) -> Self {
        let path = std::env::var(STATISTICS).unwrap_or_else(|_| panic!("{STATISTICS} names no file"));
        let statistics = File::create(&path).and_then(|_| File::open(&path));
        Compiler { gpu, statistics: statistics.unwrap_or_else(|e| panic!("{path}: {e}")) }
    }

    fn compile(&mut self, name: &str, key: &PipelineKey, wgsl: &str) -> Compiled {
        let start = Instant::now();
        let compiled = lapidary::testing::gpu::pipeline(&self.gpu, key, || wgsl.to_owned());
        let mut ms = start.elapsed().as_secs_f64() * 1e3;
        let (mut written, mut executables) = (String::new(), Value::Null);
        self.statistics.read_to_string(&mut written).expect("the layer writes text");
        if let Some(line) = written.lines().last() {
            let said: Value = serde_json::from_str(line).unwrap_or_else(|e| panic!("{name}: {e}: {line}"));
            ms = said["ms"].as_f64().unwrap_or(ms);
            executables = said["executables"].clone();
        }
        let fault = match (compiled, &executables) {
            (Err(fault), _) => {
                // A device that has failed stays so.
                self.gpu = open();
                Some(fault.to_string())
            }
            (Ok(_), Value::Null) => panic!("{name}: compiled, but the layer has seen nothing of it"),
            (Ok(_), _) => None,
        };
        let workgroup_bytes = workgroup_bytes(wgsl, key);
        let (name, kernel) = (name.to_owned(), kernel(key));
        Compiled { name, kernel, decodes: BTreeMap::new(), workgroup_bytes, fault, ms, executables }
    }

    fn results(&self, gpu: &str, table: String, pipelines: Vec<Compiled>) -> Results {
        let report = self.gpu.adapter();
        let (device, driver) = (report.info.name.clone(), report.driver());
        Results { gpu: gpu.to_owned(), device, driver, table, pipelines }
    }
}

/// What the shader declares, as most drivers do not say it.
fn workgroup_bytes(wgsl: &str, key: &PipelineKey) -> u64 {
    let Ok(shader) = specialize(wgsl, &key.constants) else { return 0 };
    let variables = shader.module.global_variables.iter().filter(|(_, v)| v.space == AddressSpace::WorkGroup);
    variables.map(|(_, v)| u64::from(shader.module.types[v.ty].inner.size(shader.module.to_ctx()))).sum()
}
