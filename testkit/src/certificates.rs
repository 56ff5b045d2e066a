//! Certificates for tests: an authority, a server on loopback and a client, made by `openssl`. In: nothing. Out: PEM files
//! in a folder of their own, which goes with them. Good for a day, and for no secret.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::kafka::unique_prefix;

/// The files.
#[derive(Debug)]
pub struct Certificates {
    folder: PathBuf,
}

impl Certificates {
    /// Makes a new authority, and what it vouches for.
    ///
    /// # Panics
    /// When `openssl` is missing or refuses.
    #[must_use]
    pub fn new() -> Certificates {
        let folder = std::env::temp_dir().join(unique_prefix("tidegate-certificates"));
        std::fs::create_dir_all(&folder).expect("a folder for the certificates");
        let made = Certificates { folder };
        let key = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -noenc";
        made.openssl(&format!(
            "req -x509 {key} -keyout ca.key -out ca.pem -days 1 -subj /CN=authority"
        ));
        std::fs::write(made.file("names"), "subjectAltName=IP:127.0.0.1,DNS:localhost\n")
            .expect("the folder is there");
        for name in ["server", "client"] {
            made.openssl(&format!(
                "req {key} -keyout {name}.key -out {name}.csr -subj /CN={name}"
            ));
            made.openssl(&format!(
                "x509 -req -in {name}.csr -CA ca.pem -CAkey ca.key -CAcreateserial -days 1 -extfile names -out {name}.pem"
            ));
        }
        let read = |name: &str| std::fs::read_to_string(made.file(name)).expect("it was made above");
        let store = [read("server.key"), read("server.pem")].concat();
        std::fs::write(made.server_store(), store).expect("the folder is there");
        made
    }

    fn openssl(&self, arguments: &str) {
        let mut openssl = Command::new("openssl");
        let made = openssl
            .args(arguments.split(' '))
            .current_dir(&self.folder)
            .output();
        let made = made.expect("openssl can be run: apt-get install openssl");
        let said = String::from_utf8_lossy(&made.stderr);
        assert!(made.status.success(), "openssl {arguments}: {said}");
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// The folder of all files.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// The authority's certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.file("ca.pem")
    }

    /// The server's key and certificate in one file, as Kafka wants them.
    #[must_use]
    pub fn server_store(&self) -> PathBuf {
        self.file("server-store.pem")
    }

    /// The client's certificate.
    #[must_use]
    pub fn client(&self) -> PathBuf {
        self.file("client.pem")
    }

    /// The client's key.
    #[must_use]
    pub fn client_key(&self) -> PathBuf {
        self.file("client.key")
    }
}

impl Default for Certificates {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        // A folder of tests that stays behind harms nobody.
        let _ = std::fs::remove_dir_all(&self.folder);
    }
}
