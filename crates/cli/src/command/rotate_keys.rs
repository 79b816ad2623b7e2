//! `pandaemon rotate-keys`: asks the running control plane, or does it itself if none runs.

use std::{path::Path, time::Duration};

use anyhow::Context as _;
use pandaemon_client::{connect, rest::Rest};
use pandaemon_store::{Error as StoreError, encryption::Settings};
use serde_json::Value;

use super::{
    control_plane::ADMIN_KUBECONFIG,
    store::{open, settings, show},
};
use crate::{
    args::RotateKeysArgs,
    progress::{Step, print_result, print_status},
};

/// The path of the API.
const PATH: &str = "/pandaemon/v1/rotate-keys";
/// How long the running control plane may take.
const TIMEOUT: Duration = Duration::from_secs(3600);

/// What was done.
#[derive(Debug)]
struct Outcome {
    key: String,
    rewritten: u64,
    unreadable: Vec<String>,
}

/// Rotates the keys and prints the name of the new one.
pub(crate) async fn run(args: RotateKeysArgs) -> anyhow::Result<()> {
    let store = args.data_dir.join("store");
    anyhow::ensure!(
        store.is_dir(),
        "{} is not the data directory of a control plane: there is no {}",
        args.data_dir.display(),
        store.display()
    );
    let step = Step::start("Encrypt all values with a new key");
    let settings = Settings {
        keeps_encrypted: true,
        deletes_lost: args.delete_lost,
        ..settings(&args.data_dir, args.encryption_key_file.as_deref())
    };
    let key_file = settings.key_file.clone();
    let (outcome, is_running) = match open(&args.data_dir, settings, &step).await {
        Ok(opened) => {
            let progress = |done, total| show(&step, done, total);
            let rotation = opened.encrypted.rotate(&progress).await;
            opened.encrypted.store().close().await;
            let rotation = rotation?;
            let unreadable = rotation.unreadable.iter().map(ToString::to_string);
            let outcome = Outcome {
                key: rotation.key.to_string(),
                rewritten: rotation.rewritten,
                unreadable: unreadable.collect(),
            };
            (outcome, false)
        }
        Err(error) if is_locked(&error) => {
            let own = args.data_dir.join(ADMIN_KUBECONFIG);
            let asked = ask(args.kubeconfig.as_deref().unwrap_or(&own));
            (asked.await?, true)
        }
        Err(error) => return Err(error),
    };
    step.finish();
    let copy = match is_running {
        // It may have another one than this command knows.
        true => "the key file of the control plane".to_owned(),
        false => key_file.display().to_string(),
    };
    let values = match outcome.rewritten {
        1 => "1 value has".to_owned(),
        count => format!("{count} values have"),
    };
    print_status(&format!(
        "      {values} the new key {}. Copy {copy} to a safe place",
        outcome.key
    ));
    print_result(&outcome.key);
    anyhow::ensure!(
        outcome.unreadable.is_empty(),
        "the old keys are kept, because values cannot be read ({}): restore them, or delete each with \
         kubectl delete --raw 'PATH?ignoreStoreReadErrorWithClusterBreakingPotential=true', and rotate again",
        outcome.unreadable.join(", ")
    );
    Ok(())
}

/// Whether a control plane runs.
fn is_locked(error: &anyhow::Error) -> bool {
    error.chain().any(|cause| {
        let cause = cause.downcast_ref::<StoreError>();
        matches!(cause, Some(StoreError::Locked(_)))
    })
}

/// Asks the running control plane.
async fn ask(kubeconfig: &Path) -> anyhow::Result<Outcome> {
    let config = connect::config(Some(kubeconfig), None).await?;
    let rest = Rest::new(connect::direct(config)?).timeout(TIMEOUT);
    let answer: Value = rest
        .create(PATH, &Value::Null)
        .await
        .context("ask the running control plane to rotate its keys")?;
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let unreadable = answer["unreadable"].as_array();
    Ok(Outcome {
        key: text(&answer["key"]),
        rewritten: answer["rewritten"].as_u64().unwrap_or_default(),
        unreadable: unreadable.into_iter().flatten().map(text).collect(),
    })
}
