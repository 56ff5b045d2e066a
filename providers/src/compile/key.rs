//! The `key` of a `[[verify]]` block: a secret and how its text becomes the key, a constant, or an address to fetch from.
//! In: the block's table. Out: a key whose address, if it has one, is bounded by a rule.

use super::answer::address_rule;
use super::keys::{Keys, Read};
use super::verify::Reader;
use crate::address::AddressRule;
use crate::key_set::KeyKind;
use crate::selector::Source;
use crate::signature::chain::ChainRule;
use crate::signature::key::{Key, KeyDecode, KeyFrom};
use crate::signature::public_key::PublicKey;
use toml::Value as Toml;

impl<'t> Reader<'_, 't, '_> {
    pub fn key(&self, usual: KeyDecode) -> Read<Key> {
        let table = match self.keys.raw("key") {
            Some(Toml::Table(table)) => table,
            _ => {
                let decode = self.keys.word("key")?.unwrap_or(usual);
                return Ok(Key {
                    from: KeyFrom::Secret,
                    decode,
                    text: None,
                    by: None,
                });
            }
        };
        let keys = Keys::of(&self.keys.at("key"), table);
        let key = Key {
            from: self.key_from(&keys)?,
            decode: keys.word("decode")?.unwrap_or(usual),
            text: keys.template("text", self.all)?,
            by: keys.value("by", self.all)?,
        };
        keys.finish()?;
        Ok(key)
    }

    fn key_from(&self, keys: &Keys<'t>) -> Read<KeyFrom> {
        let key_id = keys.value("kid", self.place)?;
        let chain = self.chain(keys)?;
        let json = keys.owned("json")?;
        if !matches!(keys.text("from")?, None | Some("secret")) {
            return keys.problem(
                "from",
                "write \"secret\", or one of constant, jwks, openid, certificate, url",
            );
        }
        let fetched = |kind: KeyKind, text: &str, rule: AddressRule| {
            let url = keys.template_of("url", text, self.place)?;
            Ok(KeyFrom::Fetched {
                kind,
                url,
                rule,
                key_id,
                chain,
            })
        };
        let given = ["constant", "jwks", "openid", "certificate", "url"].map(|name| keys.text(name));
        let [constant, jwks, openid, certificate, url] = given;
        match (constant?, jwks?, openid?, certificate?, url?) {
            (None, None, None, None, None) => Ok(KeyFrom::Secret),
            (Some(constant), None, None, None, None) => Ok(match PublicKey::parse(constant.as_bytes()) {
                Some(key) => KeyFrom::Constant(key),
                None => KeyFrom::ConstantText(constant.to_owned()),
            }),
            (None, Some(jwks), None, None, None) => {
                self.check_own_address(keys, jwks)?;
                fetched(KeyKind::Jwks, jwks, AddressRule::default())
            }
            (None, None, Some(openid), None, None) => {
                self.check_own_address(keys, openid)?;
                fetched(KeyKind::OpenId, openid, AddressRule::default())
            }
            (None, None, None, Some(url), None) => fetched(KeyKind::Certificate, url, address_rule(keys)?),
            (None, None, None, None, Some(url)) => match json {
                Some(name) => fetched(KeyKind::Text(name), url, address_rule(keys)?),
                None => keys.problem("json", "name the member of the fetched JSON that holds the key"),
            },
            _ => keys.problem("from", "a key comes from one place"),
        }
    }

    /// What a certificate's chain must end in.
    fn chain(&self, keys: &Keys<'t>) -> Read<Option<ChainRule>> {
        let (chain, name) = (keys.text("chain")?, keys.text("name")?);
        match (chain, keys.text("certificate")?, name) {
            (Some(roots), Some(_), name) => ChainRule::parse(roots, name)
                .map(Some)
                .or_else(|problem| keys.problem("chain", problem)),
            (Some(_), None, _) => keys.problem("chain", "only a `certificate` has a chain"),
            (None, _, Some(_)) => keys.problem("name", "a certificate's name counts only with its `chain`"),
            (None, _, None) => Ok(None),
        }
    }

    /// An address without a rule of hosts is the definition's or the integration's own, never the request's.
    fn check_own_address(&self, keys: &Keys<'_>, text: &str) -> Read<()> {
        let template = keys.template_of("url", text, self.place)?;
        if template
            .selectors()
            .iter()
            .all(|selector| matches!(selector.source, Source::Cfg(_)))
        {
            return Ok(());
        }
        keys.problem(
            "jwks",
            "only constants (`{cfg:…}`) may be picked in the address of a key set",
        )
    }

    pub fn check_public(&self, key: &Key) -> Read<()> {
        match key.from {
            KeyFrom::ConstantText(_) => self
                .keys
                .problem("key.constant", "is no public key in PEM, hex or base64"),
            _ => Ok(()),
        }
    }
}
