import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Optional;
import java.util.concurrent.ExecutionException;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.OffsetSpec;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.errors.UnknownTopicOrPartitionException;

/**
 * Creates the topics that do not exist yet, then asks every partition of all of them for its end:
 * {@code Topics BOOTSTRAP PARTITIONS TOPIC…}. That this succeeds is the proof that the broker
 * serves. Kafka's own TopicCommand is not on Maven Central, and would take a JVM for each topic.
 */
public final class Topics {
  private static final int ATTEMPTS = 100;

  public static void main(String[] arguments) throws InterruptedException {
    var topics = List.of(arguments).subList(2, arguments.length);
    var partitions = Optional.of(Integer.valueOf(arguments[1]));
    var settings = Map.<String, Object>of(
        "bootstrap.servers", arguments[0],
        "default.api.timeout.ms", 20_000,
        "request.timeout.ms", 10_000);
    try (var admin = Admin.create(settings)) {
      var present = admin.listTopics().names().get();
      var absent = topics.stream()
          .filter(topic -> !present.contains(topic))
          .map(topic -> new NewTopic(topic, partitions, Optional.empty()))
          .toList();
      admin.createTopics(absent).all().get();
      for (int attempt = 1; !serves(admin, topics, attempt); attempt++) {
        Thread.sleep(200);
      }
    } catch (ExecutionException failure) {
      System.err.println(failure.getCause().getMessage());
      System.exit(1);
    }
  }

  /** A topic is known some moments after it was created, on a busy machine some seconds. */
  private static boolean serves(Admin admin, List<String> topics, int attempt)
      throws InterruptedException, ExecutionException {
    try {
      var offsets = new HashMap<TopicPartition, OffsetSpec>();
      for (var topic : admin.describeTopics(topics).allTopicNames().get().values()) {
        for (var partition : topic.partitions()) {
          offsets.put(new TopicPartition(topic.name(), partition.partition()), OffsetSpec.latest());
        }
      }
      admin.listOffsets(offsets).all().get();
      return true;
    } catch (ExecutionException failure) {
      if (failure.getCause() instanceof UnknownTopicOrPartitionException && attempt < ATTEMPTS) {
        return false;
      }
      throw failure;
    }
  }
}
