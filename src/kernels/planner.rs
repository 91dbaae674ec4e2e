//! What kernels plan with: they name a shader, constants, buffers and a grid, and the planner compiles and binds all of it.

use std::sync::Mutex;

use super::shaders;
use super::tuning::Tuning;
use super::{Parameter, Parameters, word};
use crate::Result;
use crate::gpu::{Binding, Constants, Dispatch, Gpu, Grid, Label, PipelineKey, Tensor, Tier, Tiers, Uniforms};

/// Quads of a row that a lane holds in registers at most; `shaders/common/held.wgsl`.
const MAX_HELD: usize = 6;

/// Which text a kernel is compiled from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ShaderName {
    /// The name of its file.
    pub stem: &'static str,
    /// Which of the texts that are made of it; empty where it is one.
    pub variant: &'static str,
}

/// A kernel with its buffers, not yet compiled.
#[derive(Debug)]
pub struct Planned {
    pub(crate) label: Label,
    pub(super) key: PipelineKey,
    buffers: Vec<(u32, Binding)>,
    /// Parameters, where they are no buffer.
    immediates: Vec<u8>,
    pub(super) grid: Grid,
}

impl Planned {
    /// The name under which it was planned.
    pub fn label(&self) -> &Label {
        &self.label
    }

    /// What its pipeline is compiled from, for tests.
    pub(crate) fn key(&self) -> &PipelineKey {
        &self.key
    }

    /// Its shader.
    pub fn shader(&self) -> ShaderName {
        ShaderName { stem: self.key.stem, variant: self.key.variant }
    }

    /// Whether its lanes add up within subgroups.
    pub fn uses_subgroups(&self) -> bool {
        shaders::has_subgroups(&self.key)
    }

    /// Its buffers by the numbers of their variables.
    #[cfg(test)]
    pub(super) fn bound(&self) -> impl Iterator<Item = &(u32, Binding)> {
        self.buffers.iter()
    }

    /// The buffers that it writes as f32.
    pub(crate) fn float_outputs(&self) -> Vec<&Binding> {
        let declared = shaders::find(&self.key).bindings(self.uses_subgroups());
        let is_output = |number| declared.iter().any(|one| one.number == number && one.is_float_output);
        self.buffers.iter().filter(|(number, _)| is_output(*number)).map(|(_, binding)| binding).collect()
    }
}

/// The buffers of a kernel, by the names of the shader's variables.
pub(crate) type NamedBuffers = Vec<(&'static str, Binding)>;

/// Collects what kernels plan, then compiles and binds all of it.
#[derive(Debug)]
pub struct Planner<'a> {
    /// The device.
    pub gpu: &'a Gpu,
    /// Workgroup sizes: tests try others.
    pub(crate) tuning: Tuning,
    /// What kernels may use: beyond [`Tier::Plain`], products round their activations.
    pub tier: Tier,
    /// The same for products of few rows, where it may be less.
    pub few_tier: Tier,
    uniforms: Uniforms,
    scratch: Mutex<[Option<Tensor>; 3]>,
}

impl<'a> Planner<'a> {
    /// A planner of plain kernels with the workgroup sizes that suit the device.
    pub fn new(gpu: &'a Gpu) -> Self {
        Planner {
            gpu,
            tuning: Tuning::for_device(gpu),
            tier: Tier::Plain,
            few_tier: Tier::Plain,
            uniforms: Uniforms::default(),
            scratch: Mutex::default(),
        }
    }

    /// With the kernels of `tier`.
    #[must_use]
    pub fn with_tier(self, tier: Tier) -> Self {
        self.with_tiers(Tiers::all(tier))
    }

    /// With the kernels of `tiers`.
    #[must_use]
    pub fn with_tiers(self, tiers: Tiers) -> Self {
        Planner { tier: tiers.many, few_tier: tiers.few, ..self }
    }

    /// With these shapes of workgroups.
    #[must_use]
    pub(crate) fn with_tuning(self, tuning: Tuning) -> Self {
        Planner { tuning, ..self }
    }

    /// Rows of the cooperative matrices that products of many rows are made of, if they are.
    pub(super) fn matrix_side(&self) -> Option<u32> {
        self.gpu.matrix_side().filter(|_| self.tier >= Tier::Matrix)
    }

    /// Buffer number `which` of those in which a product keeps what it makes of its input, of at least `words` words: one
    /// product after the other, none needs it for longer.
    pub(super) fn scratch(&self, which: usize, label: &str, words: usize) -> Result<Tensor> {
        let mut all = self.scratch.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        match &all[which] {
            Some(tensor) if tensor.rows >= words => Ok(tensor.clone()),
            _ => Ok(all[which].insert(Tensor::compact(self.gpu, label, words, 1)?).clone()),
        }
    }

    /// A kernel of `key` with `params` and `buffers`, which are named after the shader's variables.
    ///
    /// # Panics
    /// Where the shader has other variables than the host gives buffers for, or other parameters.
    pub(super) fn plan<P: Parameters>(
        &self,
        label: &str,
        key: PipelineKey,
        params: &P,
        buffers: NamedBuffers,
        grid: Grid,
    ) -> Result<Planned> {
        let mut planned = self.planned(label, key, P::MEMBERS, buffers, grid);
        if self.gpu.has_immediates() {
            planned.immediates = bytemuck::bytes_of(params).to_vec();
        } else {
            planned.buffers.push((0, self.uniforms.add(self.gpu, params)?));
        }
        Ok(planned)
    }

    /// As [`Planner::plan`] for a kernel whose parameters are all constants.
    pub(super) fn plan_bare(
        &self,
        label: &str,
        key: PipelineKey,
        buffers: NamedBuffers,
        grid: Grid,
    ) -> Result<Planned> {
        Ok(self.planned(label, key, &[], buffers, grid))
    }

    fn planned(
        &self,
        label: &str,
        key: PipelineKey,
        parameters: &[Parameter],
        buffers: NamedBuffers,
        grid: Grid,
    ) -> Planned {
        let key = self.with_subgroups(key);
        let (shader, subgroups) = (shaders::find(&key), shaders::has_subgroups(&key));
        let buffers = shaders::numbered(shader.bindings(subgroups), !parameters.is_empty(), buffers)
            .and_then(|buffers| shaders::compare(shader.parameters(subgroups), parameters).map(|()| buffers))
            .unwrap_or_else(|why| panic!("{label}: shader {} \"{}\": {why}", key.stem, key.variant));
        Planned { label: label.into(), key, buffers, immediates: Vec::new(), grid }
    }

    /// `key` with the shader's parts for subgroups, where it has some and the device may use them.
    fn with_subgroups(&self, mut key: PipelineKey) -> PipelineKey {
        let threads = key.constants.iter().find(|(name, _)| *name == "THREADS").map_or(0, |(_, threads)| *threads);
        let lanes = self.gpu.summing_lanes().filter(|_| self.tier >= Tier::Dot && self.tuning.subgroups);
        if let Some(lanes) = lanes.filter(|&lanes| threads.is_multiple_of(lanes) && threads > 0)
            && shaders::find(&key).has_subgroups()
        {
            key.constants.push((shaders::SUBGROUP, lanes));
        }
        key
    }

    /// The key of the shader `stem` in its only variant.
    pub(super) fn key(&self, stem: &'static str, constants: Vec<(&'static str, u32)>) -> PipelineKey {
        PipelineKey { stem, variant: "", constants }
    }

    /// Constants of the shaders that hold a row of `width` values in registers, or walk it where it is too wide for that or
    /// no whole quads.
    pub(super) fn held_rows(&self, width: usize) -> Constants {
        let most = self.tuning.norms.row_threads.min(self.gpu.limits().max_compute_invocations_per_workgroup);
        // A quad each where that is possible: one workgroup has a row, and few lanes would take long.
        let threads = word(width.div_ceil(4).next_power_of_two()).clamp(most.min(256), most);
        let quads = width.div_ceil(4 * threads as usize);
        let held = if width.is_multiple_of(4) && quads <= MAX_HELD { word(quads) } else { 0 };
        let late = u32::from(self.tuning.norms.late);
        vec![("THREADS", threads), ("HELD", held), ("WIDTH", word(width)), ("LATE", late)]
    }

    /// Compiles what is not compiled yet, on several threads, and binds everything in order. `progress` is called with
    /// the number of pipelines that are ready and of those there will be.
    ///
    /// # Errors
    /// [`crate::Error::Device`] where the device rejects a shader.
    pub fn bind(&self, planned: &[Planned], progress: &(dyn Fn(usize, usize) + Sync)) -> Result<Vec<Dispatch>> {
        let mut keys: Vec<PipelineKey> = Vec::new();
        for one in planned {
            if !keys.contains(&one.key) {
                keys.push(one.key.clone());
            }
        }
        self.gpu.prepare(&keys, shaders::source, |ready| progress(ready, keys.len()))?;
        planned.iter().map(|one| self.bind_one(one, &one.key, || shaders::source(&one.key))).collect()
    }

    fn bind_one(&self, one: &Planned, key: &PipelineKey, wgsl: impl FnOnce() -> String) -> Result<Dispatch> {
        let pipeline = self.gpu.pipeline(key, wgsl)?;
        let dispatch = Dispatch::new(self.gpu, &one.label, pipeline, &one.buffers, &one.immediates, one.grid);
        self.gpu.check()?;
        Ok(dispatch)
    }

    /// Binds `planned` with each shader text changed by `alter` and compiled under the name `variant`: how tests plant a
    /// bug and see it caught.
    ///
    /// # Errors
    /// As [`Planner::bind`].
    pub(crate) fn bind_altered(
        &self,
        planned: &[Planned],
        variant: &'static str,
        alter: impl Fn(&str) -> String,
    ) -> Result<Vec<Dispatch>> {
        let altered = |one: &Planned| {
            // Two variants of one shader stay two; a test's names may stay in memory.
            let variant: &'static str = Box::leak(format!("{variant} {}", one.key.variant).into_boxed_str());
            let key = PipelineKey { variant, ..one.key.clone() };
            self.bind_one(one, &key, || alter(&shaders::source(&one.key)))
        };
        planned.iter().map(altered).collect()
    }

    /// Plans and binds in one go: for tests and examples.
    ///
    /// # Errors
    /// As [`Planner::bind`].
    pub fn bind_all(&self, planned: &[Planned]) -> Result<Vec<Dispatch>> {
        self.bind(planned, &|_, _| ())
    }
}

/// Workgroups of 256 lanes for `n_lanes` lanes in a row; what exceeds a dimension's limit goes along z.
pub(super) fn flat_grid(planner: &Planner, n_lanes: usize) -> Grid {
    let groups = n_lanes.div_ceil(256);
    let z = groups.div_ceil(planner.gpu.limits().max_compute_workgroups_per_dimension as usize);
    Grid { z: word(z), ..Grid::per_row(groups.div_ceil(z)) }
}
