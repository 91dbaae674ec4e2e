//! The checks of kernels: each runs shapes that hurt and compares what comes out with the reference.

mod attention;
mod choices;
mod experts;
mod norms;
mod products;

use crate::Result;
use crate::gpu::Tier;
use crate::kernels::KvDtype;
use crate::testing::bounds::Measure;
use crate::testing::workbench::Workbench;

/// A check of some kernels.
#[derive(Debug, Clone, Copy)]
pub struct Check {
    /// What it checks.
    pub name: &'static str,
    /// The weakest tier that has these kernels.
    pub tier: Tier,
    /// The format of the KV cache that they are for, where they are for one alone.
    pub kv: Option<KvDtype>,
    /// Few models have a use for them.
    pub is_rare: bool,
    /// They are those of the plain tier, but for lanes that add up within subgroups.
    pub of_subgroups: bool,
    /// Their pipelines take a CPU long to compile.
    pub is_costly: bool,
    run: fn(&Workbench, &mut Measure) -> Result<()>,
}

impl Check {
    /// Runs it.
    ///
    /// # Errors
    /// Those of the device, and where a kernel writes what is not its own.
    pub fn run(&self, bench: &Workbench, measure: &mut Measure) -> Result<()> {
        (self.run)(bench, measure)
    }
}

const fn check(tier: Tier, name: &'static str, run: fn(&Workbench, &mut Measure) -> Result<()>) -> Check {
    Check { name, tier, kv: None, is_rare: false, of_subgroups: false, is_costly: false, run }
}

const fn of_cache(
    tier: Tier,
    kv: KvDtype,
    name: &'static str,
    run: fn(&Workbench, &mut Measure) -> Result<()>,
) -> Check {
    Check { name, tier, kv: Some(kv), is_rare: false, of_subgroups: false, is_costly: false, run }
}

const fn subgroups(name: &'static str, run: fn(&Workbench, &mut Measure) -> Result<()>) -> Check {
    Check { of_subgroups: true, ..check(Tier::Dot, name, run) }
}

const fn costly(check: Check) -> Check {
    Check { is_costly: true, ..check }
}

const fn rare(check: Check) -> Check {
    Check { is_rare: true, ..check }
}

/// All checks, those of the plain tier first.
pub const CHECKS: &[Check] = &[
    check(Tier::Plain, "quantized products, few rows", products::matvec_packed),
    check(Tier::Plain, "dense products, few rows", products::matvec_dense),
    costly(check(Tier::Plain, "quantized products, many rows", products::matmul_packed)),
    costly(check(Tier::Plain, "dense products, many rows", products::matmul_dense)),
    costly(check(Tier::Plain, "gated product", experts::gate)),
    costly(check(Tier::Plain, "gated products of experts", experts::gates)),
    costly(check(Tier::Plain, "sums of experts", experts::sums)),
    costly(check(Tier::Plain, "grouped experts", experts::grouped)),
    rare(check(Tier::Plain, "grouped dense experts", experts::grouped_dense)),
    check(Tier::Plain, "groups of rows", experts::groups),
    check(Tier::Plain, "sums of grouped experts", experts::sums_of_products),
    check(Tier::Plain, "router", experts::choice),
    check(Tier::Plain, "rms_norm", norms::rms_exact),
    check(Tier::Plain, "add_norm", norms::add_exact),
    check(Tier::Plain, "moe_combine", norms::combine_exact),
    rare(check(Tier::Plain, "per-layer inputs", norms::per_layer)),
    check(Tier::Plain, "gelu_mul", norms::gates),
    costly(of_cache(Tier::Plain, KvDtype::F32, "attention, few rows, f32 cache", attention::few_f32)),
    of_cache(Tier::Plain, KvDtype::F16, "attention, few rows, f16 cache", attention::few_f16),
    of_cache(Tier::Plain, KvDtype::Int8, "attention, few rows, int8 cache", attention::few_int8),
    costly(of_cache(Tier::Plain, KvDtype::F32, "attention, many rows, f32 cache", attention::many_f32)),
    costly(of_cache(Tier::Plain, KvDtype::F16, "attention, many rows, f16 cache", attention::many_f16)),
    of_cache(Tier::Plain, KvDtype::Int8, "attention, many rows, int8 cache", attention::many_int8),
    check(Tier::Plain, "ring of keys and values", attention::store),
    check(Tier::Plain, "embedding", choices::tables),
    check(Tier::Plain, "capped logits", choices::capped),
    check(Tier::Plain, "chosen rows", choices::gathered),
    check(Tier::Plain, "greedy choice", choices::largest),
    check(Tier::Plain, "drawn choice", choices::drawn),
    check(Tier::Plain, "suppressed ids", choices::suppressed),
    rare(check(Tier::Plain, "made-up weights, copies", choices::fills)),
    rare(check(Tier::Plain, "values that are no numbers", choices::numbers)),
    subgroups("quantized products in subgroups", products::matvec_packed),
    subgroups("dense products in subgroups", products::matvec_dense),
    subgroups("rms_norm in subgroups", norms::rms_exact),
    subgroups("add_norm in subgroups", norms::add_exact),
    subgroups("moe_combine in subgroups", norms::combine_exact),
    rare(subgroups("per-layer inputs in subgroups", norms::per_layer)),
    subgroups("heads in subgroups", attention::heads_f16),
    check(Tier::Dot, "int8 products, few rows", products::matvec_rounded),
    check(Tier::Dot, "int8 products, many rows", products::matmul_rounded),
    check(Tier::Dot, "int8 gated product", experts::gate),
    check(Tier::Dot, "int8 gated products of experts", experts::gates),
    check(Tier::Dot, "int8 sums of experts", experts::sums),
    check(Tier::Dot, "int8 grouped experts", experts::grouped),
    check(Tier::Dot, "router beside products", experts::beside),
    check(Tier::Dot, "rms_norm, rounded", norms::rms_rounded),
    check(Tier::Dot, "add_norm, rounded", norms::add_rounded),
    check(Tier::Dot, "moe_combine, rounded", norms::combine_rounded),
    of_cache(Tier::Dot, KvDtype::F32, "attention, f32 cache, rounded", attention::few_f32),
    of_cache(Tier::Dot, KvDtype::F16, "attention, f16 cache, rounded", attention::few_f16),
    check(Tier::Matrix, "quantized products of matrices", products::matmul_rounded),
    check(Tier::Matrix, "dense products of matrices", products::matmul_dense_rounded),
    check(Tier::Matrix, "grouped experts of matrices", experts::grouped),
    rare(check(Tier::Matrix, "grouped dense experts of matrices", experts::grouped_dense)),
];
