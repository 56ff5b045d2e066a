//! Whether a certificate's chain ends in a root that the definition trusts, for its name, at the time of receipt. In: the
//! certificates that were fetched, leaf first. Out: yes, or what is wrong. Fetches nothing and asks for no revocations.

use std::time::Duration;

use rustls_pki_types::{CertificateDer, ServerName, TrustAnchor, UnixTime};
use tidegate_schemas::UnixMillis;
use webpki::{ALL_VERIFICATION_ALGS, EndEntityCert, KeyUsage, anchor_from_trusted_cert};

use super::pem;

/// What a chain must end in, and whom it must name.
#[derive(Debug)]
pub(crate) struct ChainRule {
    roots: Roots,
    /// The DNS name that the leaf must be valid for.
    name: Option<ServerName<'static>>,
}

#[derive(Debug)]
enum Roots {
    /// The public roots of the web, as Mozilla keeps them.
    Public,
    /// These alone.
    Own(Vec<TrustAnchor<'static>>),
}

impl ChainRule {
    /// Reads a rule: `public`, or the roots in PEM; and the leaf's name.
    pub fn parse(roots: &str, name: Option<&str>) -> Result<Self, &'static str> {
        let name = name.map(|name| ServerName::try_from(name.to_owned()));
        let name = name.transpose().map_err(|_| "the name is no DNS name")?;
        if roots == "public" {
            let roots = Roots::Public;
            return match name {
                Some(_) => Ok(Self { roots, name }),
                None => {
                    Err("anybody has a certificate under the public roots: write the `name` it must have")
                }
            };
        }
        let anchors = pem::blocks(roots.as_bytes()).into_iter().map(|block| {
            let certificate = CertificateDer::from(block.der);
            let anchor = anchor_from_trusted_cert(&certificate).ok()?;
            Some(anchor.to_owned())
        });
        match anchors.collect::<Option<Vec<_>>>() {
            Some(anchors) if !anchors.is_empty() => Ok(Self {
                roots: Roots::Own(anchors),
                name,
            }),
            _ => Err("write \"public\", or the roots' certificates in PEM"),
        }
    }

    /// Checks a chain, leaf first, as of a time.
    pub fn check(&self, chain: &[Vec<u8>], at: UnixMillis) -> Result<(), &'static str> {
        let certificates: Vec<_> = chain
            .iter()
            .map(|der| CertificateDer::from(der.as_slice()))
            .collect();
        let (leaf, between) = certificates.split_first().ok_or("it holds no certificate")?;
        let leaf = EndEntityCert::try_from(leaf).map_err(|_| "its first certificate cannot be read")?;
        let anchors = match &self.roots {
            Roots::Public => webpki_roots::TLS_SERVER_ROOTS,
            Roots::Own(anchors) => anchors,
        };
        let time = UnixTime::since_unix_epoch(Duration::from_millis(at.0));
        let usage = KeyUsage::server_auth();
        leaf.verify_for_usage(ALL_VERIFICATION_ALGS, anchors, between, time, usage, None, None)
            .map_err(|_| "it does not end in a root that the definition trusts, or was not valid then")?;
        match &self.name {
            None => Ok(()),
            Some(name) => leaf
                .verify_is_valid_for_subject_name(name)
                .map_err(|_| "its first certificate is another's than the definition names"),
        }
    }
}
