// Command daprd is Dapr's sidecar with the components that Depesche uses and no others: pub/sub over Redis and
// Kafka, secrets from the environment and from a file, names from a SQLite file. It takes daprd's own flags.
//
// Dapr's own command either panics (no component tag) or compiles every component there is. What needs Dapr's
// control plane (actors, workflows, jobs, mTLS) is not there.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"syscall"

	"go.opencensus.io/stats/view"

	resolver "github.com/dapr/components-contrib/nameresolution/sqlite"
	"github.com/dapr/components-contrib/pubsub/kafka"
	"github.com/dapr/components-contrib/pubsub/redis"
	"github.com/dapr/components-contrib/secretstores/local/env"
	"github.com/dapr/components-contrib/secretstores/local/file"
	"github.com/dapr/dapr/cmd/daprd/options"
	"github.com/dapr/dapr/pkg/buildinfo"
	"github.com/dapr/dapr/pkg/components/nameresolution"
	"github.com/dapr/dapr/pkg/components/pubsub"
	"github.com/dapr/dapr/pkg/components/secretstores"
	"github.com/dapr/dapr/pkg/healthz"
	"github.com/dapr/dapr/pkg/metrics"
	"github.com/dapr/dapr/pkg/modes"
	"github.com/dapr/dapr/pkg/runtime"
	"github.com/dapr/dapr/pkg/runtime/registry"
	"github.com/dapr/dapr/pkg/security"
	"github.com/dapr/kit/concurrency"
	"github.com/dapr/kit/logger"
)

var log = logger.NewLogger("dapr.runtime")

func main() {
	opts, err := options.New(os.Args[1:])
	if err != nil {
		log.Fatalf("Failed to parse flags: %v", err)
	}
	if opts.RuntimeVersion {
		fmt.Println(buildinfo.Version())
		return
	}
	opts.Logger.SetAppID(opts.AppID)
	if err := logger.ApplyOptionsToLoggers(&opts.Logger); err != nil {
		log.Fatal(err)
	}
	log.Infof("Starting Dapr Runtime -- version %s", buildinfo.Version())

	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, opts); err != nil {
		log.Fatalf("Fatal error from runtime: %s", err)
	}
}

// components are all that this sidecar can load; any other type in a component file is refused at start.
func components() *registry.Options {
	contrib := logger.NewLogger("dapr.contrib")

	buses := pubsub.NewRegistry()
	buses.Logger = contrib
	buses.RegisterComponent(redis.NewRedisStreams, "redis")
	buses.RegisterComponent(kafka.NewKafka, "kafka")

	secrets := secretstores.NewRegistry()
	secrets.Logger = contrib
	secrets.RegisterComponent(env.NewEnvSecretStore, "local.env")
	secrets.RegisterComponent(file.NewLocalSecretStore, "local.file")

	names := nameresolution.NewRegistry()
	names.Logger = contrib
	names.RegisterComponent(resolver.NewResolver, "sqlite")

	return registry.NewOptions().WithPubSubs(buses).WithSecretStores(secrets).WithNameResolutions(names)
}

// run starts the runtime and returns when ctx is done and everything has ended.
func run(ctx context.Context, opts *options.Options) error {
	health := healthz.New()
	provider, err := security.New(ctx, security.Options{
		SentryAddress:           opts.SentryAddress,
		ControlPlaneTrustDomain: opts.ControlPlaneTrustDomain,
		ControlPlaneNamespace:   opts.ControlPlaneNamespace,
		TrustAnchors:            opts.TrustAnchors,
		AppID:                   opts.AppID,
		MTLSEnabled:             opts.EnableMTLS,
		Mode:                    modes.DaprMode(opts.Mode),
		Healthz:                 health,
		JwtAudiences:            opts.SentryRequestJwtAudiences,
	})
	if err != nil {
		return err
	}
	return concurrency.NewRunnerManager(provider.Run, func(ctx context.Context) error {
		handler, err := provider.Handler(ctx)
		if err != nil {
			return err
		}
		config := configOf(opts)
		config.Healthz = health
		config.Security = handler
		config.Registry = components()
		config.Metrics = metrics.Options{
			Enabled:       opts.Metrics.Enabled(),
			Port:          opts.Metrics.Port(),
			ListenAddress: opts.Metrics.ListenAddress(),
			Namespace:     metrics.DefaultMetricNamespace,
			Meter:         view.NewMeter(),
			Healthz:       health,
			Log:           log,
		}
		sidecar, err := runtime.FromConfig(ctx, config)
		if err != nil {
			return err
		}
		return sidecar.Run(ctx)
	}).Run(ctx)
}

// configOf passes every flag on: the runtime refuses to start with some of them at Go's zero value.
func configOf(opts *options.Options) *runtime.Config {
	return &runtime.Config{
		// what this sidecar is, and what it reads
		AppID:                opts.AppID,
		Mode:                 opts.Mode,
		Config:               opts.Config,
		ResourcesPath:        opts.ResourcesPath,
		ComponentsPath:       opts.ComponentsPath,
		DisableInitEndpoints: opts.DisableInitEndpoints,

		// where it listens
		DaprHTTPPort:                  opts.DaprHTTPPort,
		DaprAPIGRPCPort:               opts.DaprAPIGRPCPort,
		DaprAPIListenAddresses:        opts.DaprAPIListenAddresses,
		DaprInternalGRPCPort:          opts.DaprInternalGRPCPort,
		DaprInternalGRPCListenAddress: opts.DaprInternalGRPCListenAddress,
		DaprPublicPort:                opts.DaprPublicPort,
		DaprPublicListenAddress:       opts.DaprPublicListenAddress,
		UnixDomainSocket:              opts.UnixDomainSocket,
		AllowedOrigins:                opts.AllowedOrigins,
		MaxRequestSize:                opts.MaxRequestSize,
		ReadBufferSize:                opts.ReadBufferSize,

		// the application beside it
		ApplicationPort:        opts.AppPort,
		AppProtocol:            opts.AppProtocol,
		AppSSL:                 opts.AppSSL,
		AppChannelAddress:      opts.AppChannelAddress,
		AppMaxConcurrency:      opts.AppMaxConcurrency,
		EnableAppHealthCheck:   opts.EnableAppHealthCheck,
		AppHealthCheckPath:     opts.AppHealthCheckPath,
		AppHealthProbeInterval: opts.AppHealthProbeInterval,
		AppHealthProbeTimeout:  opts.AppHealthProbeTimeout,
		AppHealthThreshold:     opts.AppHealthThreshold,

		// how it ends, and what it tells
		DaprGracefulShutdownSeconds: opts.DaprGracefulShutdownSeconds,
		DaprBlockShutdownDuration:   opts.DaprBlockShutdownDuration,
		EnableAPILogging:            opts.EnableAPILogging,
		EnableProfiling:             opts.EnableProfiling,
		ProfilePort:                 opts.ProfilePort,

		// Dapr's control plane, which is not there
		ControlPlaneAddress:          opts.ControlPlaneAddress,
		SentryAddress:                opts.SentryAddress,
		EnableMTLS:                   opts.EnableMTLS,
		ActorsService:                opts.ActorsService,
		ActorsDisseminationTimeout:   opts.ActorsDisseminationTimeout,
		RemindersService:             opts.RemindersService,
		SchedulerAddress:             opts.SchedulerAddress,
		SchedulerStreams:             opts.SchedulerJobStreams,
		HotReloadReconcileInterval:   opts.HotReloadReconcileInterval,
		DisableBuiltinK8sSecretStore: opts.DisableBuiltinK8sSecretStore,
	}
}
