//! `pandaemon server`: the control plane alone.

use pandaemon_controllers::EnabledControllers;
use pandaemon_runtime::Shutdown;

use super::plane::{Plane, PlaneConfig, local_url, open_store, write_kubeconfig};
use crate::{
    args::ServerArgs,
    steps::{Step, answer, say},
};

/// Runs the control plane until it is stopped.
pub(crate) async fn run(args: ServerArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let controllers: EnabledControllers = args.controllers.parse()?;
    let step = Step::begin(format!(
        "Open the store in {}",
        args.place.data_dir.display()
    ));
    let store = open_store(&args.place.data_dir)?;
    step.done();
    let step = Step::begin("Start the control plane");
    let config = PlaneConfig {
        data_dir: args.place.data_dir.clone(),
        listen: args.listen,
        names: args.tls_san,
        controllers,
    };
    let plane = Plane::start(config, store).await?;
    step.done();
    let url = local_url(plane.api.address());
    write_kubeconfig(&args.place.write_kubeconfig, &plane.api.kubeconfig(&url))?;
    say(&format!("  ok  The Kubernetes API answers at {url}"));
    say(&format!(
        "      Nodes join with the token in {}",
        args.place.data_dir.join("token").display()
    ));
    answer(&format!(
        "export KUBECONFIG={}",
        args.place.write_kubeconfig.display()
    ));
    shutdown.triggered().await;
    let step = Step::begin("Stop");
    plane.stop().await?;
    step.done();
    Ok(())
}
