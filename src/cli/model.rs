//! Opening and loading a model: the one in a directory, or the demo model that is part of the program.

use std::sync::{Arc, Mutex};

use indicatif::{ProgressBar, ProgressStyle};
use lapidary::chat;
use lapidary::checkpoint::{Checkpoint, Source};
use lapidary::engine::Generator;
use lapidary::gemma4::Role;
use lapidary::model::{Gemma4, Head, HostExperts, Options, Progress};
use lapidary::text::TextModel;
use lapidary::{Fault, Result};

use super::args::ModelArguments;
use super::ranks::introduce;
use super::run::RunArguments;
use super::terminal::{note, plural, size};

macro_rules! demo_files {
    ($($name:literal),* $(,)?) => {
        &[$(($name, include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo-model/", $name)))),*]
    };
}

/// The demo model's files.
pub(super) const DEMO: &[(&str, &[u8])] = demo_files![
    "config.json",
    "generation_config.json",
    "tokenizer.json",
    "tokenizer_config.json",
    "chat_template.jinja",
    "model.safetensors",
];

/// What the demo model should say, for `doctor`.
pub(super) const DEMO_GOLDEN: &[u8] =
    include_bytes!(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/demo-model/golden.json"));

impl ModelArguments {
    /// Where the model's files are.
    pub(super) fn source(&self) -> Source {
        match &self.model {
            Some(directory) if self.follow_links => Source::Linked(directory.clone()),
            Some(directory) => Source::Directory(directory.clone()),
            None => Source::Embedded(DEMO),
        }
    }

    /// The model's name for people.
    pub(super) fn name(&self) -> String {
        match &self.model {
            Some(directory) => directory.display().to_string(),
            None => "demo model (built in)".to_owned(),
        }
    }

    /// Configuration and headers; no weights are read.
    ///
    /// # Errors
    /// Those of [`Checkpoint::open`].
    pub(super) fn open(&self) -> Result<Checkpoint> {
        Checkpoint::open(self.source())
    }

    /// The tokenizer and template, `None` where there is no tokenizer.
    ///
    /// # Errors
    /// [`lapidary::Error::Model`] for a file that cannot be used.
    pub(super) fn text(&self) -> Result<Option<TextModel>> {
        TextModel::open(&self.source())
    }

    /// The tokenizer and template for a command that cannot go on without them.
    ///
    /// # Errors
    /// [`lapidary::Error::Model`] also where there is no tokenizer, told by `tell`.
    pub(super) fn required_text(&self, tell: impl FnOnce(Fault) -> Fault) -> Result<TextModel> {
        self.text()?.ok_or_else(|| tell(chat::no_tokenizer(&self.source())).into())
    }
}

impl RunArguments {
    /// The context if it is known without a device: an upper bound of the one that the model will have.
    pub(super) fn context_bound(&self, checkpoint: &Checkpoint) -> usize {
        self.context.unwrap_or(usize::MAX).min(checkpoint.config.max_position_embeddings)
    }

    /// How the model is laid out.
    ///
    /// # Errors
    /// [`lapidary::Error::Usage`] where arguments contradict each other.
    pub(super) fn options(&self) -> Result<Options> {
        let options = Options { context: self.context, parallel: self.ranks.parallel()?, ..Options::default() };
        Ok(self.kernels.apply(options))
    }

    /// Loads the model: a progress bar where stderr is a terminal, then one line about what runs on what.
    ///
    /// # Errors
    /// Those of [`lapidary::gpu::Gpu::open`] and [`Gemma4::load_on`].
    pub(super) fn load(&self, checkpoint: &Checkpoint) -> Result<Gemma4> {
        let options = self.options()?;
        let gpus = self.ranks.devices(self.adapter.as_deref(), &self.kernels)?;
        // A bar shows how far it is, but not to who reads stderr from a file.
        if let Some(gpu) = gpus.iter().find(|gpu| gpu.adapter().lacks_dxc()) {
            note(format_args!(
                "FXC compiles the shaders of \"{}\" at each start: that takes up to minutes",
                gpu.adapter().info.name
            ));
        }
        let bars = Bars::default();
        let model = Gemma4::load_on(gpus, checkpoint, &options, &|progress| bars.show(progress));
        bars.clear();
        let model = model?;
        self.introduce(checkpoint, &model);
        Ok(model)
    }

    /// As [`Self::load`], ready to generate what `text` reads. Where the device is lost, the model is loaded again, with one
    /// line about it.
    ///
    /// # Errors
    /// As [`Self::load`], and [`Checkpoint::check_stops`].
    pub(super) fn generator(&self, checkpoint: &Arc<Checkpoint>, text: Option<&TextModel>) -> Result<Generator> {
        let arguments = self.clone();
        chat::generator(checkpoint, text, move |checkpoint, lost| {
            if let Some(message) = lost {
                note(format_args!(
                    "the device was lost ({message}): the model is loaded again, then the answer goes on"
                ));
            }
            arguments.load(checkpoint)
        })
    }

    fn introduce(&self, checkpoint: &Checkpoint, model: &Gemma4) {
        let adapter = model.gpu().adapter();
        note(format_args!(
            "{} | {} | {} | {} | {} | {} used, context {}",
            self.model.name(),
            format(checkpoint),
            adapter.info.name,
            adapter.api(),
            adapter.driver(),
            size(model.allocated_bytes()),
            model.context()
        ));
        introduce(model);
        introduce_host_experts(model);
        if let Some(deviation) = model.head_deviation() {
            let bits = if self.kernels.head() == Head::Int4 { "int4" } else { "int8" };
            let (relative, largest) = (100.0 * deviation.relative(), deviation.largest);
            note(format_args!(
                "head: requantized to {bits}, off by {relative:.2} % (root mean square), at most {largest:.1e}"
            ));
        } else if self.kernels.head() != Head::Keep {
            note("head: as the file has it, which is quantized already");
        }
        let software = model.ranks().map(|rank| rank.gpu.adapter()).find(|adapter| adapter.is_software());
        match (software, self.adapter.is_some() || self.ranks.names_adapters()) {
            (None, _) => {}
            (Some(_), false) => note("no GPU was found: this runs on the CPU, through a software adapter"),
            (Some(adapter), true) => note(format_args!("{} is software: it runs on the CPU", adapter.info.name)),
        }
    }
}

/// A line about experts in host memory, if there are such.
pub(super) fn introduce_host_experts(model: &Gemma4) {
    match model.host_experts() {
        HostExperts { layers: 0, .. } => {}
        HostExperts { layers, bytes } => note(format_args!(
            "experts of the first {} stay in host memory, {}, and are streamed",
            plural(layers, "layer"),
            size(bytes)
        )),
    }
}

/// The format that holds most of the layers' parameters: what an embedding is stored in says little of a model.
pub(super) fn format(checkpoint: &Checkpoint) -> String {
    let mut formats: Vec<(String, u64)> = Vec::new();
    let outside = [Role::Embedding, Role::Head, Role::PerLayerEmbedding];
    for group in checkpoint.groups().into_iter().filter(|group| !outside.contains(&group.role)) {
        match formats.iter_mut().find(|(format, _)| *format == group.format) {
            Some((_, parameters)) => *parameters += group.parameters,
            None => formats.push((group.format, group.parameters)),
        }
    }
    formats.into_iter().max_by_key(|(_, parameters)| *parameters).map_or(String::new(), |(format, _)| format)
}

/// The bar of what is being loaded; indicatif shows nothing where stderr is no terminal.
#[derive(Default)]
pub(super) struct Bars {
    current: Mutex<Option<Shown>>,
}

/// A bar, and what it is of.
struct Shown {
    what: &'static str,
    bar: ProgressBar,
}

impl Bars {
    pub(super) fn show(&self, progress: Progress) {
        let (what, template, done, total) = match progress {
            Progress::Weights { done, total } => {
                ("loading", "{msg} {bar:30} {binary_bytes}/{binary_total_bytes} {eta}", done, total)
            }
            Progress::Pipelines { done, total } => {
                ("compiling", "{msg} {bar:30} {pos}/{len} shaders", done as u64, total as u64)
            }
        };
        let mut current = self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner());
        if current.as_ref().is_none_or(|shown| shown.what != what) {
            if let Some(Shown { bar, .. }) = current.take() {
                bar.finish_and_clear();
            }
            let style = ProgressStyle::with_template(template).expect("the templates above are valid");
            let bar = ProgressBar::new(total).with_style(style).with_message(what);
            *current = Some(Shown { what, bar });
        }
        if let Some(Shown { bar, .. }) = current.as_ref() {
            bar.set_length(total);
            bar.set_position(done);
        }
    }

    pub(super) fn clear(&self) {
        if let Some(Shown { bar, .. }) = self.current.lock().unwrap_or_else(|poisoned| poisoned.into_inner()).take() {
            bar.finish_and_clear();
        }
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use std::ops::ControlFlow;

    use clap::Parser;
    use lapidary::engine::{Request, Sampling};

    use super::*;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        run: RunArguments,
    }

    /// Programs that ask the library for nothing get what `lapidary chat` has without flags.
    #[test]
    fn without_flags_options_are_the_library_s() {
        let Arguments { run } = Arguments::try_parse_from([""]).unwrap();
        assert_eq!(format!("{:?}", run.options().unwrap()), format!("{:?}", Options::default()));
        let Arguments { run } = Arguments::try_parse_from(["", "--precision", "exact", "--no-cache"]).unwrap();
        let exact = Options { marks: true, ..Options::exact() };
        assert_eq!(format!("{:?}", run.options().unwrap()), format!("{exact:?}"));
    }

    /// What `chat` and `generate` run with comes back after a loss, with the same arguments.
    #[test]
    fn a_lost_device_comes_back() {
        let Arguments { run } = Arguments::try_parse_from(["", "--context", "64", "--kv", "f32"]).unwrap();
        let mut generator = run.generator(&Arc::new(run.model.open().unwrap()), None).unwrap();
        let request = Request { sampling: Sampling::GREEDY, max_tokens: Some(6) };
        let answer = |generator: &mut Generator| {
            let answer = generator.generate(0, &[2, 700, 41, 900], &request, &mut |_| ControlFlow::Continue(()));
            answer.unwrap().ids
        };
        let expected = answer(&mut generator);
        let (context, bytes) = (generator.model().context(), generator.model().allocated_bytes());
        lapidary::testing::gpu::fault_injector(generator.model().gpu()).destroy();
        assert_eq!(answer(&mut generator), expected);
        assert_eq!((generator.model().context(), generator.model().allocated_bytes()), (context, bytes));
    }
}
