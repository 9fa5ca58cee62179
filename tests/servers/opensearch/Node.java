import org.codelibs.opensearch.runner.OpenSearchRunner;

/** One OpenSearch node: {@code java -cp … Node.java HOME PORT [SETTING=VALUE …]}, until it is ended. */
public final class Node {
  public static void main(String[] arguments) throws Exception {
    OpenSearchRunner runner = new OpenSearchRunner();
    runner.setMaxHttpPort(65535);
    runner.onBuild(
        (number, settings) -> {
          settings.put("http.port", arguments[1]);
          settings.put("network.host", "127.0.0.1");
          settings.put("discovery.type", "single-node");
          for (int at = 2; at < arguments.length; at++) {
            String[] pair = arguments[at].split("=", 2);
            settings.put(pair[0], pair[1]);
          }
        });
    runner.build(
        OpenSearchRunner.newConfigs().basePath(arguments[0]).numOfNode(1).printOnFailure());
    Runtime.getRuntime().addShutdownHook(new Thread(() -> close(runner)));
    Thread.currentThread().join();
  }

  private static void close(OpenSearchRunner runner) {
    try {
      runner.close();
    } catch (Exception error) {
      error.printStackTrace();
    }
  }
}
