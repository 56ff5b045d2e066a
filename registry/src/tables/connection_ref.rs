//! A connection as it is read: borrowed from the tables, decoded only as far as asked.
//! In: a slot. Out: id, properties, flags for nothing; metadata, tags and secrets decoded (and decrypted) on demand.

use std::collections::BTreeMap;

use tidegate_schemas::{IntegrationId, UnixMillis};

use super::{ReadError, Tables};
use crate::entity::{Connection, ConnectionDetails, Entity, FloodSettings, StoredSecret};

/// A connection in the tables.
#[derive(Clone, Copy)]
pub struct ConnectionRef<'a> {
    pub(super) tables: &'a Tables,
    pub(super) slot: u32,
}

impl<'a> ConnectionRef<'a> {
    /// Its id, unique in its integration.
    #[must_use]
    pub fn id(&self) -> &'a str {
        self.tables.connections.head(self.slot).id
    }

    /// The integration it belongs to.
    #[must_use]
    pub fn integration(&self) -> IntegrationId {
        let connections = &self.tables.connections;
        connections.integration(connections.head(self.slot).integration)
    }

    /// The version that a write of it must name.
    #[must_use]
    pub fn version(&self) -> u64 {
        self.tables.connections.head(self.slot).version
    }

    /// Whether a handshake may store a secret here.
    #[must_use]
    pub fn awaits_secret(&self) -> bool {
        self.tables.connections.head(self.slot).awaits_secret
    }

    /// How its floods are controlled, where not as its integration's; decoded now.
    ///
    /// # Errors
    /// [`ReadError::DetailsNotLoaded`] where this process keeps no details.
    pub fn flood_settings(&self) -> Result<Option<FloodSettings>, ReadError> {
        let connections = &self.tables.connections;
        if !connections.head(self.slot).has_flood_settings {
            return Ok(None);
        }
        if !self.tables.keeps_details {
            return Err(ReadError::DetailsNotLoaded);
        }
        Ok(Some(self.to_sealed().details.flood))
    }

    /// Every (property, value) that events are matched by.
    pub fn properties(&self) -> impl Iterator<Item = (&'a str, &'a str)> + use<'a> {
        let connections = &self.tables.connections;
        let values = connections.head(self.slot).values();
        values.map(|value| (connections.property(value.property), value.text))
    }

    /// Its secrets, decoded and decrypted now: some microseconds.
    ///
    /// # Errors
    /// [`ReadError::DetailsNotLoaded`] where this process keeps no details; [`ReadError::Seal`] for a secret that
    /// does not open.
    pub fn secrets(&self) -> Result<Vec<StoredSecret>, ReadError> {
        Ok(self.details()?.secrets)
    }

    /// What is kept beside it, decoded and decrypted now.
    ///
    /// # Errors
    /// As [`ConnectionRef::secrets`].
    pub fn details(&self) -> Result<ConnectionDetails, ReadError> {
        Ok(self.to_connection()?.details)
    }

    /// The whole connection, decoded and decrypted now.
    ///
    /// # Errors
    /// As [`ConnectionRef::secrets`].
    pub fn to_connection(&self) -> Result<Connection, ReadError> {
        if !self.tables.keeps_details {
            return Err(ReadError::DetailsNotLoaded);
        }
        let mut entity = Entity::Connection(self.to_sealed());
        self.tables.keyring.open(&mut entity)?;
        let Entity::Connection(connection) = entity else {
            unreachable!("opening an entity keeps its kind")
        };
        Ok(connection)
    }

    /// The connection with its secrets still sealed, as it stands in the journal; without details where none are
    /// kept.
    pub(crate) fn to_sealed(self) -> Connection {
        let head = self.tables.connections.head(self.slot);
        let mut properties: BTreeMap<String, Vec<String>> = BTreeMap::new();
        for (name, value) in self.properties() {
            properties
                .entry(name.to_owned())
                .or_default()
                .push(value.to_owned());
        }
        let details = match self.tables.connections.details(self.slot) {
            Some(json) => serde_json::from_slice(json).expect("details are kept as they were encoded"),
            None => ConnectionDetails::default(),
        };
        Connection {
            integration: self.integration(),
            id: head.id.to_owned(),
            version: head.version,
            created_at: UnixMillis(head.created_at),
            updated_at: UnixMillis(head.updated_at),
            properties,
            awaits_secret: head.awaits_secret,
            details,
        }
    }
}

impl std::fmt::Debug for ConnectionRef<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "ConnectionRef({:?})", self.id())
    }
}
