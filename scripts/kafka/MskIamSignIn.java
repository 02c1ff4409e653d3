import java.net.URI;
import java.net.URLDecoder;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.time.Instant;
import java.time.ZoneOffset;
import java.time.format.DateTimeFormatter;
import java.util.Base64;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.regex.Matcher;
import java.util.regex.Pattern;
import javax.security.auth.callback.Callback;
import javax.security.auth.callback.UnsupportedCallbackException;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.common.security.auth.AuthenticateCallbackHandler;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerExtensionsValidatorCallback;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerToken;
import org.apache.kafka.common.security.oauthbearer.OAuthBearerValidatorCallback;

/**
 * Takes the tokens that clients of Amazon MSK sign in with: the base64url of a presigned URL of
 * {@code kafka-cluster:Connect}. Everything is checked but what only AWS can know: whether the
 * access key exists, its secret made the signature, and its policies allow what follows.
 */
public final class MskIamSignIn implements AuthenticateCallbackHandler {
  /** In server.properties: the region whose tokens are taken. */
  private static final String REGION = "superres.iam.region";

  private static final Pattern HOST = Pattern.compile("kafka\\.([a-z0-9-]+)\\.amazonaws\\.com");
  private static final Pattern SCOPE =
      Pattern.compile("[A-Za-z0-9]+/(\\d{8})/([a-z0-9-]+)/kafka-cluster/aws4_request");
  private static final Pattern SIGNATURE = Pattern.compile("[0-9a-f]{64}");
  private static final DateTimeFormatter TIME =
      DateTimeFormatter.ofPattern("uuuuMMdd'T'HHmmss'Z'").withZone(ZoneOffset.UTC);
  private static final Duration LONGEST = Duration.ofMinutes(15);
  private static final Duration CLOCKS_APART = Duration.ofMinutes(5);

  private String region;

  @Override
  public void configure(
      Map<String, ?> settings, String mechanism, List<AppConfigurationEntry> logins) {
    region = settings.get(REGION).toString();
  }

  @Override
  public void handle(Callback[] callbacks) throws UnsupportedCallbackException {
    for (var callback : callbacks) {
      if (callback instanceof OAuthBearerValidatorCallback asked) {
        answer(asked);
      } else if (!(callback instanceof OAuthBearerExtensionsValidatorCallback)) {
        throw new UnsupportedCallbackException(callback);
      }
    }
  }

  @Override
  public void close() {}

  private void answer(OAuthBearerValidatorCallback asked) {
    try {
      asked.token(new Accepted(asked.tokenValue(), expiry(asked.tokenValue()).toEpochMilli()));
    } catch (IllegalArgumentException refusal) {
      asked.error("invalid_token: " + refusal.getMessage(), null, null);
    }
  }

  /** When a token ends; throws IllegalArgumentException, with the reason, for one that is no good. */
  private Instant expiry(String token) {
    var url = decoded(token);
    var host = matched(HOST, url.getHost(), "it is for no broker of MSK");
    var query = parameters(url.getRawQuery());
    require("https".equals(url.getScheme()), "its URL is not https");
    require("kafka-cluster:Connect".equals(query.get("Action")), "its action is no Connect");
    require("AWS4-HMAC-SHA256".equals(query.get("X-Amz-Algorithm")), "it is not signed with SigV4");
    require("host".equals(query.get("X-Amz-SignedHeaders")), "its host is not signed");
    matched(SIGNATURE, query.get("X-Amz-Signature"), "it has no signature");

    var scope = matched(SCOPE, query.get("X-Amz-Credential"), "its credential is malformed");
    require(host.group(1).equals(region), "it is for " + host.group(1) + ", not " + region);
    require(scope.group(2).equals(region), "it is signed for " + scope.group(2));

    var date = query.getOrDefault("X-Amz-Date", "");
    require(date.startsWith(scope.group(1)), "its dates differ");
    return livesUntil(time(date), seconds(query.get("X-Amz-Expires")));
  }

  private static Instant livesUntil(Instant signed, Duration lifetime) {
    var now = Instant.now();
    require(lifetime.compareTo(LONGEST) <= 0, "it lives longer than 15 minutes");
    require(!signed.isAfter(now.plus(CLOCKS_APART)), "it is signed in the future");
    var end = signed.plus(lifetime);
    require(end.isAfter(now), "it expired at " + end);
    return end;
  }

  private static URI decoded(String token) {
    try {
      return URI.create(new String(Base64.getUrlDecoder().decode(token), StandardCharsets.UTF_8));
    } catch (IllegalArgumentException malformed) {
      throw new IllegalArgumentException("it is no URL in base64url");
    }
  }

  private static Map<String, String> parameters(String query) {
    var found = new HashMap<String, String>();
    for (var each : (query == null ? "" : query).split("&")) {
      var parts = each.split("=", 2);
      var value = parts.length < 2 ? "" : URLDecoder.decode(parts[1], StandardCharsets.UTF_8);
      require(found.put(parts[0], value) == null, "it has a parameter twice");
    }
    return found;
  }

  private static Instant time(String text) {
    try {
      return TIME.parse(text, Instant::from);
    } catch (java.time.DateTimeException malformed) {
      throw new IllegalArgumentException("its date is malformed");
    }
  }

  private static Duration seconds(String text) {
    matched(Pattern.compile("[1-9]\\d{0,5}"), text, "its lifetime is malformed");
    return Duration.ofSeconds(Long.parseLong(text));
  }

  private static Matcher matched(Pattern pattern, String text, String otherwise) {
    var matcher = pattern.matcher(text == null ? "" : text);
    require(matcher.matches(), otherwise);
    return matcher;
  }

  private static void require(boolean holds, String otherwise) {
    if (!holds) {
      throw new IllegalArgumentException(otherwise);
    }
  }

  /** What Kafka wants to know of a token. */
  private record Accepted(String value, long lifetimeMs) implements OAuthBearerToken {
    @Override
    public Set<String> scope() {
      return Set.of();
    }

    /** One name for all: a role's access key changes, and a session may not change its name. */
    @Override
    public String principalName() {
      return "msk-iam";
    }

    @Override
    public Long startTimeMs() {
      return null;
    }
  }
}
