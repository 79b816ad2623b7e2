//! `pandaemon server`: the control plane alone.

use pandaemon_controllers::EnabledControllers;
use pandaemon_runtime::Shutdown;
use pandaemon_server::Lifetimes;

use super::{
    control_plane::{ControlPlane, ControlPlaneConfig},
    store::open_store,
};
use crate::{
    args::ServerArgs,
    progress::{Step, print_result, print_status},
};

/// Runs the control plane until a signal stops it.
pub(crate) async fn run(args: ServerArgs, shutdown: Shutdown) -> anyhow::Result<()> {
    let controllers: EnabledControllers = args.controllers.parse()?;
    let options = args.api_server.options(&args.paths.data_dir)?;
    let step = Step::start(format!(
        "Open the store in {}",
        args.paths.data_dir.display()
    ));
    let store = open_store(&args.paths.data_dir, &args.api_server.encryption, &step).await?;
    step.finish();
    let step = Step::start("Start the control plane");
    let config = ControlPlaneConfig {
        data_dir: args.paths.data_dir.clone(),
        listen: args.listen,
        advertise_address: args.advertise_address,
        names: args.tls_san,
        controllers,
        options,
        certificates: Lifetimes::default(),
    };
    let plane = ControlPlane::start(config, store).await?;
    step.finish();
    let url = plane.write_kubeconfig(&args.paths)?;
    print_status(&format!("  ok  The Kubernetes API answers at {url}"));
    print_status(&format!(
        "      Nodes join with the token in {}",
        args.paths.data_dir.join("token").display()
    ));
    print_result(&format!(
        "export KUBECONFIG={}",
        args.paths.write_kubeconfig.display()
    ));
    let result = plane.run_until(&args.paths, &shutdown).await;
    let step = Step::start("Stop");
    plane.stop().await?;
    step.finish();
    result
}
