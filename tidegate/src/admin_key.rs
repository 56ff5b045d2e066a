//! The admin key of a system on Kafka: it comes from the environment, since none of several processes is the first to
//! print one. In: `TIDEGATE_ADMIN_KEY` and the registry. Out: the key `admin` in the registry, as the variable says.

use std::time::{Duration, SystemTime};

use anyhow::{Context as _, bail, ensure};
use tidegate_registry::{ApiKey, Desk, Entity, Registry, Write, WriteError};
use tidegate_schemas::{Secret, UnixMillis};

/// The variable that holds it.
pub const VARIABLE: &str = "TIDEGATE_ADMIN_KEY";

/// The key's name in the registry.
const NAME: &str = "admin";
/// Characters that it must have: it is kept as a plain hash, which only a long key can bear.
const CHARS_MIN: usize = 32;
/// How often a write is tried again that another process's was faster than.
const TRIES_MAX: u32 = 5;
/// How soon a write is tried again that nobody could do.
const AGAIN: Duration = Duration::from_secs(1);

/// The key as the environment names it.
///
/// # Errors
/// When it is too short, or no plain text.
pub fn from_environment() -> anyhow::Result<Option<Secret>> {
    match std::env::var(VARIABLE) {
        Ok(text) if text.is_empty() => Ok(None),
        Ok(text) => checked(&text).map(Some),
        Err(std::env::VarError::NotPresent) => Ok(None),
        Err(error) => bail!("{VARIABLE}: {error}"),
    }
}

fn checked(text: &str) -> anyhow::Result<Secret> {
    ensure!(
        text.len() >= CHARS_MIN && text.bytes().all(|byte| byte.is_ascii_graphic()),
        "{VARIABLE} must have at least {CHARS_MIN} characters, without spaces: make one with `openssl rand -hex 32`"
    );
    Ok(Secret::new(text))
}

/// Brings the key `admin` in the registry to what the environment says.
///
/// # Errors
/// When the registry has no admin key and the environment names none, or it cannot be written.
pub async fn ensure_there(registry: &Registry, desk: &Desk, named: Option<&Secret>) -> anyhow::Result<()> {
    let mut tries = 0;
    loop {
        tries += 1;
        registry.ready().await?;
        let Some(write) = missing(registry, named)? else {
            return Ok(());
        };
        match desk.write(vec![write]).await {
            Ok(_) => tracing::info!("the admin key is the one that {VARIABLE} names"),
            // Another process, with the same variable, was faster.
            Err(error) if error.is_conflict() && tries < TRIES_MAX => {}
            Err(error) => return Err(error).context("the admin key cannot be written"),
        }
    }
}

/// The same for a process that is at work already: however long nobody can write the registry.
///
/// # Errors
/// As [`ensure_there`], for what no waiting cures.
pub async fn ensure_there_in_time(
    registry: &Registry,
    desk: &Desk,
    named: Option<&Secret>,
) -> anyhow::Result<()> {
    loop {
        let error = match ensure_there(registry, desk, named).await {
            Ok(()) => return Ok(()),
            Err(error) => error,
        };
        let passes = |error: &WriteError| error.is_retryable();
        if !error.downcast_ref().is_some_and(passes) {
            return Err(error);
        }
        tracing::warn!(error = format!("{error:#}"), "it is tried again");
        tokio::time::sleep(AGAIN).await;
    }
}

/// What must be written so that the registry has the key.
fn missing(registry: &Registry, named: Option<&Secret>) -> anyhow::Result<Option<Write>> {
    let tables = registry.read();
    let mut admins = tables.api_keys().filter(|key| key.environment.is_none());
    let Some(secret) = named else {
        ensure!(
            admins.next().is_some(),
            "on Kafka the admin key comes from the environment, and there is none yet: set {VARIABLE} to at least \
             {CHARS_MIN} characters, the same in every process with the role api (`openssl rand -hex 32`)"
        );
        return Ok(None);
    };
    let text = std::str::from_utf8(secret.expose()).context(VARIABLE)?;
    let now = UnixMillis::from(SystemTime::now());
    let wanted = ApiKey::from_text(None, NAME, text, now);
    let wanted = match admins.find(|key| key.name == NAME) {
        None => wanted,
        Some(there) if there.hash == wanted.hash => return Ok(None),
        Some(there) => ApiKey {
            id: there.id,
            version: there.version,
            created_at: there.created_at,
            ..wanted
        },
    };
    Ok(Some(Write::put(Entity::ApiKey(wanted))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_must_be_long_and_plain() {
        assert!(checked(&"x".repeat(32)).is_ok());
        for text in [
            "short",
            &"x".repeat(31),
            &format!("{} ", "x".repeat(32)),
            &"ü".repeat(32),
        ] {
            let error = checked(text).err().expect(text).to_string();
            assert!(error.contains("openssl"), "{error}");
        }
    }

    #[test]
    fn a_key_that_is_missing_or_another_is_written_and_the_same_is_not() {
        let now = UnixMillis(1);
        let old = ApiKey {
            version: 3,
            ..ApiKey::from_text(None, NAME, "the-old-one", now)
        };
        let registry =
            |keys: Vec<ApiKey>| Registry::of(keys.into_iter().map(Entity::ApiKey)).expect("a registry");
        let named = |text: &str| Some(Secret::new(text));
        let none = missing(&registry(vec![]), None).expect_err("there is none");
        assert!(none.to_string().contains(VARIABLE), "{none}");
        assert_eq!(
            missing(&registry(vec![old.clone()]), None).expect("there is one"),
            None
        );
        let same = missing(&registry(vec![old.clone()]), named("the-old-one").as_ref());
        assert_eq!(same.expect("it can be read"), None);
        let fresh = missing(&registry(vec![]), named("a-new-one").as_ref());
        assert!(fresh.expect("it can be read").is_some());
        let other = missing(&registry(vec![old.clone()]), named("a-new-one").as_ref());
        let Some(Write::Put(entity)) = other.expect("it can be read") else {
            panic!("the key is not replaced")
        };
        let Entity::ApiKey(key) = *entity else {
            panic!("another entity is written")
        };
        assert_eq!(
            (key.id, key.version),
            (old.id, 3),
            "the same key, with another text"
        );
        assert_eq!(key.hash, ApiKey::hash_of("a-new-one"));
    }
}
