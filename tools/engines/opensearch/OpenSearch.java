import java.io.IOException;
import java.util.concurrent.CountDownLatch;
import org.codelibs.opensearch.runner.OpenSearchRunner;

/**
 * One OpenSearch node on loopback: {@code OpenSearch <folder> <HTTP port> <transport port>}.
 *
 * <p>The runner's own main ends without a word when the node cannot start, and takes ports from 9201 to 9299 only.
 */
public final class OpenSearch {
    public static void main(String[] arguments) throws InterruptedException {
        String folder = arguments[0];
        String http = arguments[1];
        String transport = arguments[2];
        OpenSearchRunner runner = new OpenSearchRunner() {
            {
                maxHttpPort = -1; // do not look for a free one: ours is given
            }
        };
        Runtime.getRuntime().addShutdownHook(new Thread(() -> close(runner)));
        runner.onBuild((number, settings) -> {
            settings.put("network.host", "127.0.0.1");
            settings.put("http.port", http);
            settings.put("transport.port", transport);
            // a laptop whose disk is 95 % full would make every index read-only
            settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
        });
        runner.build(OpenSearchRunner.newConfigs().basePath(folder).clusterName("depesche").numOfNode(1));
        new CountDownLatch(1).await(); // the node's threads alone do not keep the process alive
    }

    private static void close(OpenSearchRunner runner) {
        try {
            runner.close();
        } catch (IOException error) {
            error.printStackTrace();
        }
    }
}
