//! `secrets`: the key that signs links, and the database that it belongs to.

use clap::Subcommand;

use super::output;
use crate::app;
use crate::config::Config;

/// What is done with it.
#[derive(Clone, Debug, Subcommand)]
pub(super) enum Secrets {
    /// make the key that is set the one of this database; links in mails made with the former one stop working
    Adopt,
}

impl Secrets {
    pub(super) async fn run(self, config: Config) -> anyhow::Result<()> {
        match self {
            Secrets::Adopt => {
                app::adopt_key(&config).await?;
                output::write("the database belongs to this key now; start every process with it\n")
            }
        }
    }
}
