import java.io.InputStream;
import java.net.Authenticator;
import java.net.HttpURLConnection;
import java.net.PasswordAuthentication;
import java.net.URI;

/** One page by Java's built-in client: {@code java Get.java URL}. NTLM's name and password come from the environment. */
class Get {
    public static void main(String[] arguments) throws Exception {
        String user = System.getenv("IWA_USER");
        if (user != null) {
            String password = System.getenv("IWA_PASSWORD");
            Authenticator.setDefault(new Authenticator() {
                @Override protected PasswordAuthentication getPasswordAuthentication() {
                    return new PasswordAuthentication(user, password.toCharArray());
                }
            });
        }
        HttpURLConnection connection = (HttpURLConnection) URI.create(arguments[0]).toURL().openConnection();
        int status = connection.getResponseCode();
        try (InputStream body = status < 400 ? connection.getInputStream() : connection.getErrorStream()) {
            int length = body == null ? 0 : body.readAllBytes().length;
            System.out.println("{\"status\": " + status + ", \"length\": " + length + "}");
        }
    }
}
