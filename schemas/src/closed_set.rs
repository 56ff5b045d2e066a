//! `closed_set!`: an enum whose members each have one text label, used as metric label, JSON text and audit column.
//! In: members with their docs and labels. Out: `ALL`, `label`, `docs`, `Display`, `FromStr`, serde as the label.
//! Not for open lists: an unknown label is an error.

/// The text is no label of the closed set it was read as.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{text}` is no {set}")]
pub struct UnknownLabel {
    /// The name of the set.
    pub set: &'static str,
    /// What was read.
    pub text: String,
}

macro_rules! closed_set {
    (
        $(#[doc = $set_docs:literal])+
        $name:ident { $( $(#[doc = $docs:literal])+ $member:ident = $label:literal, )+ }
    ) => {
        $(#[doc = $set_docs])+
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $( $(#[doc = $docs])+ $member, )+ }

        impl $name {
            /// Every member, in the order of declaration.
            pub const ALL: &'static [$name] = &[ $( $name::$member, )+ ];

            /// The text that stands for this member in JSON, metrics and ClickHouse.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $( $name::$member => $label, )+ }
            }

            /// What this member means, for the printed docs.
            #[must_use]
            pub const fn docs(self) -> &'static str {
                match self { $( $name::$member => concat!($($docs),+).trim_ascii(), )+ }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.label())
            }
        }

        impl std::str::FromStr for $name {
            type Err = $crate::closed_set::UnknownLabel;
            fn from_str(text: &str) -> Result<Self, Self::Err> {
                match text {
                    $( $label => Ok($name::$member), )+
                    _ => Err($crate::closed_set::UnknownLabel { set: stringify!($name), text: text.to_owned() }),
                }
            }
        }

        impl serde::Serialize for $name {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.label())
            }
        }

        impl<'de> serde::Deserialize<'de> for $name {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = <$crate::Text<'de>>::deserialize(deserializer)?;
                text.as_str().parse().map_err(serde::de::Error::custom)
            }
        }
    };
}

pub(crate) use closed_set;
