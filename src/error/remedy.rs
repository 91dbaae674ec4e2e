//! What would help: data, which whoever shows an error puts into its own words.

use std::fmt;

/// Something that a caller can change. The command line names flags for it, another program whatever it has.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Remedy {
    /// A context of at most so many positions.
    ShorterContext(usize),
    /// A context whose whole memory is planned and taken at the start.
    PlannedContext,
    /// A budget for the device's memory, within which everything is planned and taken at the start.
    Budget,
    /// Keys and values in codes of so many bits.
    SmallerCache {
        /// Bits of a code.
        bits: u32,
    },
    /// A head in codes of so many bits.
    SmallerHead {
        /// Bits of a code.
        bits: u32,
    },
    /// The experts of so many layers, from the first on, in host memory.
    ExpertsOnHost(usize),
    /// Precision that rounds no activations.
    ExactPrecision,
    /// Links that may lead out of the model's folder.
    FollowLinks,
    /// The checks of [`crate::doctor`], all of them.
    Examine,
    /// An adapter that is opened without what is recorded of its checks.
    IgnoreRecord,
    /// At most so many ranks.
    FewerRanks(usize),
    /// A context of fewer positions than now.
    LessContext,
    /// Another adapter than the one that was chosen.
    OtherAdapter,
    /// An adapter of which less is left unused.
    LeaveLessUnused,
    /// A driver that is newer than the one that there is.
    NewerDriver,
    /// The driver of the graphics card, where there is none.
    CardDriver,
    /// A driver for Vulkan, where there is none.
    VulkanDriver,
    /// The same file from where it came.
    DownloadAgain,
    /// The file that this one only points to.
    Download,
    /// The files of the model that are not there.
    DownloadRest,
    /// The rest of a file whose download is not at its end.
    FinishDownload,
    /// The files that Git LFS keeps elsewhere.
    PullLfs,
    /// What is in an archive.
    Unpack,
    /// What is in an archive, or what another program makes of it.
    UnpackOrConvert,
    /// Safetensors, made of this file.
    Convert,
    /// Safetensors, made of the model that this file was made of.
    ConvertOriginal,
    /// The safetensors of the same model.
    TakeSafetensors,
    /// The safetensors of the model that this file was made of.
    TakeOriginal,
    /// One model, made of an adapter and the model that it is for.
    MergeAdapter,
    /// A text that is continued as it is, where no chat template makes one of a conversation.
    RawText,
    /// Token ids, where there is no tokenizer.
    TokenIds,
    /// A DXC for the shaders of DX12, where the system has only FXC.
    Compiler {
        /// What brings one.
        how: String,
    },
}

impl fmt::Display for Remedy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Remedy::ShorterContext(positions) => write!(f, "a context of {positions}"),
            Remedy::PlannedContext => f.write_str("a context that is planned at the start"),
            Remedy::Budget => f.write_str("a budget for memory"),
            Remedy::SmallerCache { bits } => write!(f, "a KV cache in int{bits}"),
            Remedy::SmallerHead { bits } => write!(f, "a head in int{bits}"),
            Remedy::ExpertsOnHost(1) => f.write_str("the experts of 1 layer in host memory"),
            Remedy::ExpertsOnHost(layers) => write!(f, "the experts of {layers} layers in host memory"),
            Remedy::ExactPrecision => f.write_str("exact precision"),
            Remedy::FollowLinks => f.write_str("following links"),
            Remedy::Examine => f.write_str("the doctor"),
            Remedy::IgnoreRecord => f.write_str("ignoring the record of its checks"),
            Remedy::FewerRanks(1) => f.write_str("1 rank"),
            Remedy::FewerRanks(most) => write!(f, "at most {most} ranks"),
            Remedy::LessContext => f.write_str("a shorter context"),
            Remedy::OtherAdapter => f.write_str("another adapter"),
            Remedy::LeaveLessUnused => f.write_str("leaving less unused"),
            Remedy::NewerDriver => f.write_str("a newer driver"),
            Remedy::CardDriver => f.write_str("install the driver of your graphics card"),
            Remedy::VulkanDriver => f.write_str(
                "install a Vulkan driver: your card's own, or Mesa's (Debian, Ubuntu: apt install mesa-vulkan-drivers; it also \
                 computes on the CPU where there is no card)",
            ),
            Remedy::DownloadAgain => f.write_str("download the file again"),
            Remedy::Download => f.write_str("download it"),
            Remedy::DownloadRest => f.write_str("download the rest"),
            Remedy::FinishDownload => f.write_str("let it end, or download the model again"),
            Remedy::PullLfs => f.write_str("run \"git lfs pull\" in its folder, or download the file itself"),
            Remedy::Unpack => f.write_str("unpack it first"),
            Remedy::UnpackOrConvert => f.write_str("unpack it, or convert it to safetensors"),
            Remedy::Convert => f.write_str("convert it to safetensors"),
            Remedy::ConvertOriginal => f.write_str("convert the original model to safetensors"),
            Remedy::TakeSafetensors => f.write_str("take the safetensors"),
            Remedy::TakeOriginal => f.write_str("take the original model's safetensors"),
            Remedy::MergeAdapter => {
                f.write_str("merge the two first (with PEFT: merge_and_unload, then save_pretrained)")
            }
            Remedy::RawText => f.write_str("base models have none: a text that goes on as it is"),
            Remedy::TokenIds => f.write_str("without one, there are token ids"),
            Remedy::Compiler { how } => write!(f, "DXC: {how}"),
        }
    }
}

impl Remedy {
    /// Whether it is told right behind what is wrong with a file, as what to do about it.
    pub(super) fn mends_files(&self) -> bool {
        matches!(
            self,
            Remedy::DownloadAgain
                | Remedy::Download
                | Remedy::DownloadRest
                | Remedy::FinishDownload
                | Remedy::PullLfs
                | Remedy::Unpack
                | Remedy::UnpackOrConvert
                | Remedy::Convert
                | Remedy::ConvertOriginal
                | Remedy::TakeSafetensors
                | Remedy::TakeOriginal
                | Remedy::MergeAdapter
        )
    }
}

/// How remedies are put into words; all of a list are meant together.
pub type Speller<'a> = dyn Fn(&[Remedy]) -> String + 'a;

/// The words of this library: no flags, no commands.
pub(super) fn plain(together: &[Remedy]) -> String {
    together.iter().map(Remedy::to_string).collect::<Vec<_>>().join(" and ")
}

/// Alternatives, each in the words of `spell`: `a, or b`.
pub(super) fn any_of(alternatives: &[Remedy], spell: &Speller) -> String {
    alternatives.iter().map(|one| spell(std::slice::from_ref(one))).collect::<Vec<_>>().join(", or ")
}
